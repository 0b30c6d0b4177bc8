"""What is known about a table of numbers, labels and holes before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from chainrule.data.entries import DatasetEntry

__all__ = ["TableEntry"]


@dataclass(frozen=True)
class TableEntry(DatasetEntry):
    """A catalogue entry that `load_table` reads: DataFrames, with columns of different kinds.

    - `columns`: the columns of the data, in order; labels and asides are not among them;
    - `header`, `separator`: of csv files;
    - `label_names`: what the labels 0, 1, ... mean; for anomaly detection (normal, anomaly);
    - `asides`: further columns of the file that are no data, such as the name of an attack;
    - `density_columns`, `protocol`: the columns that published densities are of, and how they were taken.

    Where the only split is `train`, that is all there is: no split is published.
    """

    columns: tuple[str, ...] = ()
    header: bool = True
    separator: str = ","
    label_names: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    density_columns: tuple[str, ...] = ()
    protocol: str = ""

    @property
    def described_splits(self) -> str:
        """The rows of each split, for people."""
        if set(self.splits) == {"train"}:
            return f"{self.splits['train']:,} rows without a published split"
        return ", ".join(f"{split} {rows:,}" for split, rows in self.splits.items())

    @property
    def missing_splits(self) -> tuple[str, ...]:
        """None: a table has the splits that were published, and where none was, all rows."""
        return ()

    def summary(self, root: str | PathLike[str] | None = None) -> dict[str, object]:
        """Everything a listing shows, as plain values that `json.dumps` accepts."""
        return super().summary(root) | {
            "columns": list(self.columns),
            "label_names": list(self.label_names),
            "asides": list(self.asides),
            "density_columns": list(self.density_columns),
            "protocol": self.protocol,
        }

    def describe(self, root: str | PathLike[str] | None = None) -> str:
        """A page of plain text for people: what every entry says, and columns, labels and protocol."""
        lines = [super().describe(root), f"  columns: {', '.join(self.columns)}"]
        if self.label_names:
            lines.append(
                f"  labels: {', '.join(f'{code} {name}' for code, name in enumerate(self.label_names))}"
            )
        if self.asides:
            lines.append(f"  beside the data: {', '.join(self.asides)}")
        if self.protocol:
            lines.append(f"  published densities: {self.protocol}")
        return "\n".join(lines)
