"""Prints the commands of README.md between two markers, so that the gate runs what a reader reads.

python .ci/readme.py quick-start
"""

import pathlib
import re
import sys

name = sys.argv[1]
text = pathlib.Path(__file__).resolve().parent.parent.joinpath("README.md").read_text(encoding="utf-8")
block = re.search(rf"<!-- {name} -->\n+```(?:sh|console)\n(.*?)```", text, re.DOTALL)
if block is None:
    sys.exit(f"README.md has no block of commands marked {name}")
sys.stdout.write(block[1])
