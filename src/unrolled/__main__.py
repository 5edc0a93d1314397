"""`python -m unrolled` is `unrolled`.

Knows nothing: it calls the command line.
"""

from unrolled.cli import main

main()
