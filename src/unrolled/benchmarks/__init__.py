"""What `unrolled bench` measures: one row for every claim of speed that is a ratio, each beside its strongest twin.

Knows nothing about terminals.
"""

from unrolled.benchmarks.comparing import Result, Row, Way, measure_row
from unrolled.benchmarks.sampling import sampling_rows, tokenising_rows
from unrolled.benchmarks.training import scoring_rows, training_rows, watching_rows

__all__ = ["Result", "Row", "Way", "measure_row", "rows"]


def rows() -> list[Row]:
    """Return every comparison, subject by subject."""
    return [*training_rows(), *scoring_rows(), *watching_rows(), *sampling_rows(), *tokenising_rows()]
