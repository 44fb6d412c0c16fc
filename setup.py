"Everything that is specific to this project stands in settings.ini"
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
extras = {k[:-len('_requirements')]: cfg[k].split() for k in cfg if k.endswith('_requirements')}

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], keywords=cfg['keywords'],
    license='MIT', packages=find_packages(include=['unet_nbdev*']), include_package_data=True,
    python_requires='>='+cfg['min_python'], install_requires=cfg['requirements'].split(), extras_require=extras,
    entry_points=dict(console_scripts=cfg['console_scripts'].split(), nbdev=[f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]),
    project_urls=dict(line.split(' = ') for line in cfg['project_urls'].splitlines()),
    classifiers=cfg['classifiers'].splitlines(),
)
