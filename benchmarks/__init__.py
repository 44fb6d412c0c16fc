"Comparisons of unet_nbdev with what people would use in its place. See README.md; not part of the wheel."
