"""Words of lastgood that the demo shows, each with a sentence for somebody who never saw them.

A few have one for this very story; every other word has its meaning from `docs/reference.py`.
"""

from __future__ import annotations

import re

from docs import reference

HERE = {
    "EvidenceFailed": "no copy of the suspect files was kept, because the operator may only read its store here "
    "(chart value store.capture); the rollback did not wait for it",
    "Unvalidated": "the target serves in every pod, but nothing could measure it while monitoring is down; "
    "somebody should look at it",
    "Failed": "no target could be taken, or the one that was is bad or did not come up; the record says which",
    "Succeeded": "the target serves in every pod, and passed its checks",
}
WORD = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b")


def meanings() -> dict[str, str]:
    """Return the meaning of every word that lastgood has."""
    reasons = {str(word): text for group in reference.REASONS.values() for word, text in group.items()}
    others = {str(word): text for group in (reference.OUTCOMES, reference.VERDICTS) for word, text in group.items()}
    return others | reasons | {word: f"{text[0].upper()}{text[1:]}." for word, text in HERE.items()}


def explain(word: str) -> str:
    """Return the sentence for a word that a person sees, in the middle of a line."""
    text = meanings()[word].rstrip(".")
    return text[0].lower() + text[1:]


def used(text: str) -> dict[str, str]:
    """Return every word of ours in a text, with its meaning."""
    known = meanings()
    return {word: known[word] for word in sorted(set(WORD.findall(text))) if word in known}
