"""The findings that are kept of a scan: bounded, and what is cut is never the worst."""

from dataclasses import dataclass, field

from lastgood.verify.scan.values import ORDER, Finding, Kind


@dataclass
class Kept:
    """The gravest findings, and how many there were.

    Severity comes before everything else, for a policy goes by it alone: many findings that are lighter, or of
    another kind, or from one file without end, crowd out none that is graver. Of those that are as grave, what could
    not be judged comes first, for a policy may refuse that alone.

    Attributes:
        most: how many are kept.
        each: how many of one file come before those of other files that are as grave.
        kinds: one finding of each kind that there was, kept or not.
    """

    most: int
    each: int
    total: int = 0
    kinds: dict[Kind, Finding] = field(default_factory=dict)
    _rows: list[tuple[bool, Finding]] = field(default_factory=list)
    _of_file: tuple[str, int] = ("", 0)

    def add(self, found: Finding, file: str) -> None:
        """Take one in; those of one file come one after the other."""
        known, count = self._of_file
        self._of_file = (file, count + 1 if file == known else 1)
        self.total += 1
        self.kinds.setdefault(found.kind, found)
        self._rows.append((self._of_file[1] > self.each, found))
        if len(self._rows) > 4 * self.most:
            self._cut()

    @property
    def left_out(self) -> int:
        """How many are not kept; none of them is graver than one that is."""
        return self.total - len(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that are kept, the gravest first."""
        self._cut()
        found = (item for _, item in self._rows)
        return tuple(sorted(found, key=lambda item: (*_rank(item), item.kind is Kind.ANOMALY, item.file)))

    def _cut(self) -> None:
        self._rows.sort(key=lambda row: (*_rank(row[1]), row[0], row[1].kind is Kind.ANOMALY, row[1].file))
        del self._rows[self.most :]


def _rank(found: Finding) -> tuple[int, bool]:
    return ORDER.index(found.severity), found.judged
