"""Data: the catalogue of named data sets, and readers of people's own files.

>>> from chainrule import data
>>> data.load("digits").train.shape
torch.Size([1197, 1, 8, 8])
"""

from chainrule.data.audio_entry import AudioEntry
from chainrule.data.audio_loading import AudioDataset, load_audio
from chainrule.data.catalogue import CATALOGUE
from chainrule.data.dataset import Dataset, binarize
from chainrule.data.entries import SPLITS, DatasetEntry, PublishedResult
from chainrule.data.files import DataFile
from chainrule.data.loading import describe, entry, from_files, listing, load, load_any, verify
from chainrule.data.readers import read
from chainrule.data.table_dataset import TableDataset
from chainrule.data.table_entry import TableEntry
from chainrule.data.table_loading import load_table
from chainrule.data.table_splits import detection_split, fold, shuffled_split
from chainrule.data.text_dataset import TextDataset
from chainrule.data.text_entry import TextEntry
from chainrule.data.text_loading import load_text

__all__ = [
    "CATALOGUE",
    "SPLITS",
    "AudioDataset",
    "AudioEntry",
    "DataFile",
    "Dataset",
    "DatasetEntry",
    "PublishedResult",
    "TableDataset",
    "TableEntry",
    "TextDataset",
    "TextEntry",
    "binarize",
    "describe",
    "detection_split",
    "entry",
    "fold",
    "from_files",
    "listing",
    "load",
    "load_any",
    "load_audio",
    "load_table",
    "load_text",
    "read",
    "shuffled_split",
    "verify",
]
