"""The run-time type checker of the tests: beartype, which takes an int where a float is asked for, as Python does."""

from beartype import BeartypeConf, beartype

tower = beartype(conf=BeartypeConf(is_pep484_tower=True))
