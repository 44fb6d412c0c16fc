"Contenders and the inputs they need, by name"
import runpy
from unet_nbdev.core import DataError

CONTENDERS,INPUTS = {},{} # name → function

def contender(
    label:str,    # how the table calls it
    needs:str='', # names of the inputs it needs, separated by spaces
):
    "Register a function that takes its job and returns rates, as units per second"
    def register(f):
        f.label = label
        f.needs = needs.split()
        CONTENDERS[f.__name__] = f
        return f
    return register

def made_once(f):
    "Register the function `make_NAME` that makes the input NAME, which all contenders share"
    INPUTS[f.__name__.removeprefix('make_')] = f
    return f

def find_contender(
    name:str, # registered name, or file.py:function
):
    "Look up a contender, or load it from a file"
    if name in CONTENDERS: return CONTENDERS[name]
    path,_,func = name.rpartition(':')
    if not path:
        raise DataError(f'unknown contender {name!r}', f"Choose one of {', '.join(CONTENDERS)}, or give 'file.py:function'")
    try: return runpy.run_path(path)[func]
    except (OSError, KeyError) as e:
        raise DataError(f'no contender {func!r} ({type(e).__name__})', "Give 'file.py:function'", path) from None
