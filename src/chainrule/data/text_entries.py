"""The texts of the catalogue, with their published splits and results."""

from __future__ import annotations

import math

from chainrule.data.entries import PublishedResult
from chainrule.data.files import DataFile
from chainrule.data.text_entry import TextEntry

__all__ = ["TEXTS"]

_NANOGPT = "nanoGPT README"
_VALIDATION = "validation, the least of noisy evaluations"
_ZAREMBA = "Zaremba et al. 2014"
_PROGRESS = "NLP-progress"


def _perplexity(model: str, value: float, source: str, status: str, note: str = "") -> PublishedResult:
    return PublishedResult(model, math.log(value), source, status, note)


TEXTS = (
    TextEntry(
        name="python-docs",
        description="The language reference that Python's help() shows: the topics of pydoc_data of the "
        "Python that runs, in alphabetical order, cut at 90 % and 95 % of the characters. It comes with "
        "Python and differs by its version (the sizes here are of Python 3.11), so compare figures only "
        "within one.",
        event_shape=(),
        levels=0,
        kind="text",
        splits={"train": 418_543, "validation": 23_252, "test": 23_253},
        licence="PSF-2.0",
        source="pydoc_data.topics of the standard library",
        form="embedded",
        shares=(0.9, 0.95),
    ),
    TextEntry(
        name="tinyshakespeare",
        description="Speeches from plays of Shakespeare, 65 different characters. The first 90 % train and "
        "the last 10 % validate, as in char-rnn and nanoGPT; there is no test part.",
        event_shape=(),
        levels=65,
        kind="text",
        splits={"train": 1_003_854, "validation": 111_540},
        licence="MIT (repository)",
        source="karpathy/char-rnn, data/tinyshakespeare/input.txt, commit 6f9487a",
        form="text",
        files=(
            DataFile(
                "tinyshakespeare/input.txt.gz",
                433_884,
                "13125fe8f49092165d7d489e3944db52d1ba546e64a60080cc9523bcd0c5e46a",
            ),
        ),
        alternative_files=(
            DataFile(
                "tinyshakespeare/input.txt",
                1_115_394,
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            ),
        ),
        published=(
            PublishedResult(
                "Transformer, 6 layers of 384, context 256", 1.4697, _NANOGPT, "confirmed", _VALIDATION
            ),
            PublishedResult(
                "Transformer, 4 layers of 128, context 64", 1.88, _NANOGPT, "confirmed", "validation"
            ),
        ),
        shares=(0.9, 1.0),
    ),
    TextEntry(
        name="ptb",
        description="The Penn Treebank as Mikolov et al. 2010 prepared it: newspaper sentences a line, lower "
        "case, no punctuation, N for numbers, 10,000 words with <unk> and the end of a line.",
        event_shape=(),
        levels=10_000,
        kind="text",
        splits={"train": 5_101_618, "validation": 399_782, "test": 449_945},
        licence="the Penn Treebank is LDC material; none stated for it",
        source="Mikolov et al. 2010; three files, a sentence a line",
        form="text",
        files=(
            DataFile(
                "ptb/ptb.train.txt.gz",
                1_689_370,
                "d1ec43563d7ce27da8b43f9069b2a58cb9e7f2656e96d7aab0ddc61ef728e176",
            ),
            DataFile(
                "ptb/ptb.valid.txt.gz",
                134_098,
                "fdb970a6bddedf957366618daec55ab7beb159f8123600f8db16c34833dca93d",
            ),
            DataFile(
                "ptb/ptb.test.txt.gz",
                149_245,
                "b9743208d38e095719ea30645a6456bd2cabe3b3dfe0815ad10a51d08b4e2a48",
            ),
        ),
        alternative_files=(
            DataFile(
                "ptb/ptb.train.txt",
                5_101_618,
                "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            ),
            DataFile(
                "ptb/ptb.valid.txt",
                399_782,
                "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            ),
            DataFile(
                "ptb/ptb.test.txt",
                449_945,
                "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
            ),
        ),
        published=(
            _perplexity("LSTM, 2 x 650, dropout", 82.7, _ZAREMBA, "memory (high)"),
            _perplexity("LSTM, 2 x 1500, dropout", 78.4, _ZAREMBA, "memory (high)"),
            _perplexity("AWD-LSTM", 57.3, _PROGRESS, "confirmed (2nd)"),
            _perplexity("Transformer-XL", 54.5, _PROGRESS, "confirmed (2nd)"),
            _perplexity("AWD-LSTM-MoS", 54.44, _PROGRESS, "confirmed (2nd)"),
            _perplexity("Mogrifier LSTM", 50.1, _PROGRESS, "confirmed (2nd)"),
            _perplexity("Mogrifier RLSTM", 47.9, _PROGRESS, "confirmed (2nd)"),
            _perplexity("Mogrifier RLSTM", 42.9, _PROGRESS, "confirmed (2nd)", "dynamic evaluation"),
        ),
        tokenizer="word",
    ),
)
