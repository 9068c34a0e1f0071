"""A document as one HTML file: no script, nothing loaded from elsewhere, readable on paper and by a screen reader."""

from __future__ import annotations

from html import escape

from tieline.pool.document import Curve, Document, Table
from tieline.store.document_files import shown

STYLE = """
:root{color-scheme:light}
body{font:15px/1.45 system-ui,sans-serif;color:#1b1f24;max-width:74rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt{color:#57606a}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{padding:.25rem .5rem;text-align:left;border-bottom:1px solid #d0d7de;vertical-align:top}
th{border-bottom:2px solid #8c959f}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.i{overflow-wrap:anywhere;min-width:9rem;color:#57606a}td.t{white-space:nowrap}
tfoot td{font-weight:600;border-top:2px solid #8c959f}.wide{overflow-x:auto}
figure{margin:1.5rem 0}figcaption{color:#57606a;font-size:.85rem}
@page{size:A4;margin:15mm}
@media print{body{margin:0;max-width:none}thead{display:table-header-group}tr{break-inside:avoid}}
"""


def as_html(document: Document) -> str:
    """Return a document as HTML."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in document.head)
    notes = "".join(f"<li>{escape(note)}</li>" for note in document.notes)
    parts = [
        f"<h1>{escape(document.title)}</h1><dl>{facts}</dl>",
        f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        "" if document.curve is None else _curve(document.curve),
        *(_table(table) for table in document.tables),
    ]
    title = f"{document.title} {document.id}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n" + "\n".join(parts)
        + "\n</main></body></html>\n"
    )  # fmt: skip


def _table(table: Table) -> str:
    says = f"<p>{escape(table.says)}</p>" if table.says else ""
    heading = f"<h2>{escape(table.title)}</h2>{says}"
    if not table.rows:
        return heading
    marks = {"money": ' class="n"', "number": ' class="n"', "id": ' class="i"', "instant": ' class="t"'}
    numeric = [marks.get(column.holds, "") for column in table.columns]
    head = "".join(
        f'<th scope="col"{mark}>{escape(column.title)}</th>'
        for mark, column in zip(numeric, table.columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{mark}>{escape(shown(cell, column.holds))}</td>"
            for mark, column, cell in zip(numeric, table.columns, row, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    foot = ""
    if table.total is not None:
        wide = len(table.columns) - 1
        foot = f'<tfoot><tr><td colspan="{wide}">total</td><td class="n">{shown(table.total)}</td></tr></tfoot>'
    return (
        f'{heading}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody>{foot}</table></div>'
    )


def _curve(curve: Curve) -> str:
    """Return the two lines as steps; a gap stays a gap."""
    most = max([*curve.expected, *(v for v in curve.actual if v is not None), 1e-9])
    least = min([*curve.expected, *(v for v in curve.actual if v is not None), 0.0])
    wide, high, left = 720.0, 180.0, 60.0
    each = wide / max(len(curve.labels), 1)

    def y(value: float) -> float:
        return 10 + high * (most - value) / (most - least)

    def path(values: tuple[float | None, ...]) -> str:
        drawn, is_down = [], False
        for k, value in enumerate(values):
            if value is None:
                is_down = False
                continue
            x = left + k * each
            drawn.append(f"{'L' if is_down else 'M'}{x:.1f} {y(value):.1f}H{x + each:.1f}")
            is_down = True
        return "".join(drawn)

    every = max(len(curve.labels) // 8, 1)
    ticks = "".join(
        f'<text x="{left + k * each:.1f}" y="208" font-size="11">{escape(label)}</text>'
        for k, label in enumerate(curve.labels) if k % every == 0
    )  # fmt: skip
    bounds = "".join(
        f'<text x="54" y="{y(value) + 4:.1f}" font-size="11" text-anchor="end">{shown(value, digits=2)}</text>'
        for value in (least, most)
    )
    says = f"{curve.title}, {curve.unit} an interval: dashed the baseline, solid the meter"
    return (
        f'<figure><svg viewBox="0 0 800 215" role="img" aria-label="{escape(says)}" width="100%">{ticks}{bounds}'
        f'<path d="{path(curve.expected)}" fill="none" stroke="#57606a" stroke-width="2" stroke-dasharray="6 4"/>'
        f'<path d="{path(curve.actual)}" fill="none" stroke="#0550ae" stroke-width="2.5"/></svg>'
        f"<figcaption>{escape(says)}</figcaption></figure>"
    )
