"The same as the command unet_predict: python script.py --input image.png --model model.pth --output output.png"
from unet_nbdev.cli import unet_predict
raise SystemExit(unet_predict())
