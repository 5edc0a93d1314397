"""FAMILIES: the only list of families. A new one is a layer file and one line here.

Knows nothing about what the families do.
"""

from unrolled.models.circuit import CircuitConfig
from unrolled.models.gru import GRUConfig
from unrolled.models.lstm import LSTMConfig
from unrolled.models.mingru import MinGRUConfig
from unrolled.models.rnn import RNNConfig
from unrolled.models.sequence_model import LayerConfig
from unrolled.models.stackrnn import StackRNNConfig
from unrolled.models.tapernn import TapeRNNConfig
from unrolled.models.tcn import TCNConfig
from unrolled.models.transformer import TransformerConfig
from unrolled.models.wavenet import WaveNetConfig
from unrolled.models.window import WindowConfig

FAMILIES: dict[str, type[LayerConfig]] = {
    "rnn": RNNConfig,
    "lstm": LSTMConfig,
    "gru": GRUConfig,
    "mingru": MinGRUConfig,
    "tcn": TCNConfig,
    "wavenet": WaveNetConfig,
    "transformer": TransformerConfig,
    "stackrnn": StackRNNConfig,
    "tapernn": TapeRNNConfig,
    "window": WindowConfig,
    "circuit": CircuitConfig,
}
