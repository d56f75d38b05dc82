"""What the frameworks really read: one row a variable, from which help, checks and pages derive."""

from mgelaunch.catalogue.brevitas import VARIABLES as _BREVITAS
from mgelaunch.catalogue.megengine import VARIABLES as _MEGENGINE
from mgelaunch.catalogue.system import VARIABLES as _SYSTEM
from mgelaunch.catalogue.torch import VARIABLES as _TORCH
from mgelaunch.catalogue.variable import Variable

CATALOGUE: dict[str, Variable] = {variable.name: variable for variable in (*_MEGENGINE, *_BREVITAS, *_TORCH, *_SYSTEM)}
"""All variables by name, in the order of the generated pages."""
