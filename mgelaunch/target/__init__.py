"""The interpreter that will run the script: which one, and what it has."""
