"""What `chainrule detect` prints for people."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from chainrule.cli.output import print_facts, print_table, show

if TYPE_CHECKING:
    from chainrule.cli.detect_labels import LabelReport
    from chainrule.tables import TableSchema

__all__ = ["report_json", "show_fit", "show_score"]

_MOST_COLUMNS = 60


def show_fit(content: dict[str, Any], schema: TableSchema, *, notices: bool) -> None:
    """The summary of `detect fit`; `notices`: with those of the schema, where they were not said before."""
    shown = content["columns"][:_MOST_COLUMNS]
    print_table(
        ("column", "kind", "values", "modelled as", "holes"),
        [(c["name"], c["kind"], c["values"], c["as"], c["holes"]) for c in shown],
    )
    if len(shown) < len(schema.columns):
        show(f"... and {len(schema.columns) - len(shown)} more columns, in {content['run']}/schema.json\n")
    which = "" if content["normal_only"] is None else f" labelled {content['normal_only']!r}"
    facts = [
        ("run", content["run"]),
        ("table", f"{content['table']}: {content['rows']:,} rows, {len(schema.columns)} columns modelled"),
        ("model", f"{content['model']}, {content['parameters']:,} parameters"),
        ("fitted on", f"{content['fitted_on']:,} rows{which}"),
        ("calibrated on", f"{content['calibrated_on']:,} other rows{which}"),
        *[("note", notice) for notice in content["notices"] if notices],
        ("alarm", f"score below {content['threshold']:.3f} nats ({content['rule_text']})"),
    ]
    if content["clean_interval"] is not None:
        low, high = content["clean_interval"]
        facts.append(
            ("", f"{low:.2%} to {high:.2%} of rows like the calibration rows will raise one (99 % sure)")
        )
    print_facts(facts)
    rows = "the rows kept back" + (" and those with other labels" if content["left_out"] else "")
    _show_report(content["report"], f"Labels against scores, on {rows}:")
    show(f"\nNext:\n  chainrule detect score {shlex.quote(content['run'])} TABLE --out scores.csv")


def show_score(content: dict[str, Any]) -> None:
    """The summary of `detect score`."""
    if content["top"]:
        many = len(content["top"])
        show("The oddest row:\n" if many == 1 else f"The {many} oddest rows, oddest first:\n")
    for place, row in enumerate(content["top"], start=1):
        _show_row(place, row)
    rows = "row" if content["alarms"] == 1 else "rows"
    facts = [
        ("table", f"{content['table']}: {content['rows']:,} rows"),
        ("alarm", f"score below {content['threshold']:.3f} nats ({content['rule_text']})"),
        ("alarms", f"{content['alarms']:,} {rows}, {content['alarm_rate']:.2%}"),
    ]
    if content["clean_interval"] is not None:
        low, high = content["clean_interval"]
        among = f"{low:.2%} to {high:.2%} would be expected of rows like the calibration rows"
        more = content["alarm_rate"] > high
        facts.append(("", among + ("; these hold more anomalies, or other rows" if more else "")))
    if content["impossible"]:
        facts.append(("impossible", f"{content['impossible']:,} rows that the model gives no probability"))
    if content["out"] is not None:
        facts.append(("file", content["out"]))
    print_facts(facts)
    _show_report(content["report"], "Labels against scores:")


def _show_row(place: int, row: dict[str, Any]) -> None:
    score = -math.inf if row["score"] is None else row["score"]
    named = f" ({row['id']})" if row.get("id") else ""
    labelled = f"   label {row['label']}" if row["label"] else ""
    alarm = "" if row["alarm"] else "   no alarm"
    show(
        f"{place:>3}. row {row['row']}{named}   score {score:.2f}   p = {row['p_value']:.2g}{labelled}{alarm}"
    )
    width = max(len(c["column"]) for c in row["columns"])
    values = max(len(c["value"]) for c in row["columns"])
    for c in row["columns"]:
        usual = f"   usually {c['usual']}" if c["usual"] else ""
        surprise = "infinite" if c["surprise"] is None else f"{c['surprise']:.1f}"
        typical = "infinite" if c["typical"] is None else f"{c['typical']:.1f}"
        show(
            f"       {c['column']:<{width}} = {c['value']:<{values}}   surprise {surprise} nats "
            f"(typically {typical}){usual}{_why(c)}"
        )
    show()


def _why(column: dict[str, Any]) -> str:
    """Said of a value that is common by itself."""
    alone = column.get("surprise_alone")
    if alone is None or column["surprise"] is None or alone > column["surprise"] / 2:
        return ""
    return "; odd beside the other columns"


def _show_report(report: LabelReport | str | None, title: str) -> None:
    if report is None:
        return
    if isinstance(report, str):
        show(f"\nNo report on labels: {report}.")
        return
    show(f"\n{title}\n")
    print_facts(report.facts())
    kinds = report.kinds()
    if kinds:
        show()
        print_table(("label", ">rows", ">alarms", ">share"), kinds)
        if len(kinds) < len(report.by_label):
            show(f"... and {len(report.by_label) - len(kinds)} rarer labels; --json has all of them")


def report_json(report: LabelReport | str | None) -> dict[str, Any] | None:
    """A report on labels, or why there is none, as JSON holds it."""
    if report is None or isinstance(report, str):
        return {"none_because": report} if report else None
    return report.as_dict()
