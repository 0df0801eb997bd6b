import json

from calls import call

from citadel.record.incidents import Summary


class Record:
    """The part of the record that `history` uses, in memory."""

    def __init__(self, documents):
        self.documents, self.incidents = documents, self

    def newest_first(self, most, unit):
        return self.documents[:most]

    def summary(self, unit):
        return Summary(len(self.documents), 1, 31.0, None)


INCIDENT = {"id": "20261123T180000-1", "start": "2026-11-23T18:00:00Z", "end": "2026-11-23T18:00:31Z", "duration": 31.0,
            "unit": "x.service", "outcome": "recovered", "causes": [{"cause": "gateway.hung"}],
            "steps": [{"do": "restart", "target": "redis.service", "outcome": "ok"},
                      {"do": "kill", "target": "x.service", "outcome": "ok"},
                      {"do": "restart", "target": "x.service", "outcome": "failed"}]}


def test_history():
    still_open = dict(INCIDENT, end=None, duration=None, outcome=None, causes=[], steps=[])
    made, out = call(["history"], store=Record([INCIDENT, still_open]))
    assert made.perform() == 0
    rows = out.getvalue().splitlines()
    for wanted in ("31 s", "gateway.hung", "restart redis.service, kill, restart (failed)"):
        assert wanted in rows[1]
    assert "open" in rows[2] and rows[2].endswith("nothing")
    assert rows[3] == "2 incidents on record, 1 resolved; MTTR 31 s"


def test_history_as_json_and_of_nothing():
    made, out = call(["history", "--json"], store=Record([INCIDENT]))
    assert made.perform() == 0
    document = json.loads(out.getvalue())
    assert document["incidents"][0]["id"] == INCIDENT["id"] and document["on_record"] == 1 and document["mttr"] == 31.0
    made, out = call(["history"], store=Record([]))
    assert made.perform() == 0 and out.getvalue() == "no incidents on record\n"
