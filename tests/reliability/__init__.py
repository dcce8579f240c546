"""What was accepted is not lost, and no side effect is doubled, whatever is killed with -9 meanwhile.

`make chaos ARGS="--jobs 500 --seed 7"` runs it at length; a short run is part of `make test`.
"""
