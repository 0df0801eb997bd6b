from calls import call

from citadel.record.store import Store


def test_maintenance_on_status_off(tmp_path):
    store, said = Store(str(tmp_path / "state")), []
    for words in (["status"], ["on", "--for", "2h", "--reason", "new disk"], ["status"], ["off"], ["off"]):
        made, out = call(["maintenance"] + words, is_root=True, store=store)
        assert made.perform() == 0
        said.append(out.getvalue())
    assert said[0] == "maintenance is off\n"
    assert said[1].startswith("maintenance is on until ") and "new disk; actions are muted" in said[1]
    assert said[2].startswith("maintenance is on until ")
    assert said[3:] == ["maintenance is off\n", "maintenance was off already\n"]
