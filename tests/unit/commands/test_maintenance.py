from calls import call

from citadel.record.intent import Maintenance as Active


class Record:
    """The part of the record that `maintenance` uses, in memory."""

    def __init__(self):
        self.begun, self.intent = None, self

    def begin_maintenance(self, seconds, reason, who):
        self.begun = (seconds, reason)

    def end_maintenance(self):
        was, self.begun = self.begun is not None, None
        return was

    def maintenance(self):
        return Active(self.begun[1], self.begun[0], "root", 0.0) if self.begun else None


def test_maintenance_on_status_off():
    store, said = Record(), []
    for words in (["status"], ["on", "--for", "2h", "--reason", "new disk"], ["status"], ["off"], ["off"]):
        made, out = call(["maintenance"] + words, is_root=True, store=store)
        assert made.perform() == 0
        said.append(out.getvalue())
    assert said[0] == "maintenance is off\n"
    assert said[1].startswith("maintenance is on until ") and "new disk; actions are muted" in said[1]
    assert said[2].startswith("maintenance is on until ")
    assert said[3:] == ["maintenance is off\n", "maintenance was off already\n"]
