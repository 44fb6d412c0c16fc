"Print the oldest version of each requirement that settings.ini allows, as a requirements file: `python .ci/oldest.py`"
from configparser import ConfigParser
from pathlib import Path

cfg = ConfigParser(delimiters=['='])
cfg.read(Path(__file__).resolve().parent.parent/'settings.ini', encoding='utf-8')
for requirement in cfg['DEFAULT']['requirements'].split():
    name,_,bound = requirement.partition('>=')
    print(f'{name}=={bound}' if bound else name)
    if name=='opencv-python': print(f'opencv-python-headless=={bound}') # albumentations brings it, and both write to cv2/
