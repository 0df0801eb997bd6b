"""The forms of what is kept on disk: each document that is read is checked before it is believed.

Every reader here raises ValueError for what is not of its form, and returns what it was given otherwise.
"""

import hashlib

from citadel.core.atomic import from_json, to_json
from citadel.core.clock import Moment, parse_stamp, stamp
from citadel.settings.values import valid_name

SCHEMA = 1


def new_service():
    """The state of a service that no pass has seen. `spell` is [moment, kind of cause, first incident]: it outlives the
    incidents of a fault that keeps coming back."""
    return {"attempts": [], "level": 0, "incident": "", "opened": None, "escalated": None, "healthy_since": None,
            "seen": {}, "last_pass": None, "spell": None}


def new_incident(name, unit, opened):
    return {"schema": SCHEMA, "id": name, "unit": unit, "host": "", "trigger": "", "start": stamp(opened[0]),
            "opened": opened, "end": None, "duration": None, "outcome": None, "causes": [], "steps": [],
            "dropped_steps": 0, "escalated": None, "alerts": {}, "bundle": None, "damaged": False}


def checksum(state):
    return hashlib.sha256(to_json(state)).hexdigest()


def state_in(data):
    """The state in the bytes of state.json."""
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError("not of schema %d" % SCHEMA)
    state = document.get("state")
    if document.get("sha256") != checksum(state):
        raise ValueError("its checksum does not match")
    try:
        _check_state(state)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError("not in its form: %s" % error)
    return state


def _check_state(state):
    count(state["serial"])
    if state["lost"] is not None:
        moment(state["lost"])
    for unit, service in state["services"].items():
        unit_name(unit)
        service.setdefault("spell", None)       # 1.0 did not keep one
        if service["spell"] is not None:
            since, kind, first = service["spell"]
            moment(since), text(kind), text(first)
        for when, what, level in service["attempts"]:
            moment(when), text(what), count(level)
        for name in ("opened", "healthy_since", "last_pass"):
            if service[name] is not None:
                moment(service[name])
        if service["escalated"] is not None:
            number, when, incident, cause = service["escalated"][:4]        # a later version may add to it
            count(number), moment(when), text(incident), text(cause)
        if service["incident"] and not is_incident_id(service["incident"]):
            raise ValueError("an incident without an id")
        count(service["level"]), text(service.get("closed", ""))
        for cause, times in service["seen"].items():
            text(cause), count(times)
        for what, total in service.get("counts", {}).items():
            if not is_number(total) or total < 0:
                raise ValueError("%s is not a count" % text(what))


def incident_in(data, name):
    """The incident `name` in the bytes of its file; fields that an older version did not write are added, empty."""
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("id") != name:
        raise ValueError("not incident %s" % name)
    for field, empty in new_incident(name, "", [0.0, 0.0, ""]).items():
        value = document.setdefault(field, empty)
        if empty is not None and not isinstance(value, type(empty)):
            raise ValueError("%s is not of its kind" % field)
    moment(document["opened"])
    if document["unit"]:
        unit_name(document["unit"])
    for field, texts in (("causes", ("cause", "because", "first")), ("steps", ("do", "target", "outcome"))):
        if not all(isinstance(one, dict) and all(isinstance(one.get(key), str) for key in texts)
                   for one in document[field]):
            raise ValueError("%s are not of their kind" % field)
    for field, kind in (("duration", (int, float)), ("end", str), ("outcome", str), ("escalated", str)):
        if document[field] is not None and not isinstance(document[field], kind):
            raise ValueError("%s is not of its kind" % field)
    for field in ("start", "end"):
        if document[field] is not None:
            parse_stamp(document[field])
    return document


def moment(value):
    """A clock.Moment from a list of a file, within what a clock can tell."""
    if not (isinstance(value, list) and len(value) == 3 and is_number(value[0]) and is_number(value[1])
            and isinstance(value[2], str) and -1e12 < value[0] < 1e12 and -1e12 < value[1] < 1e12):
        raise ValueError("not a moment")
    return Moment(*value)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def count(value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a count")
    return value


def text(value):
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def unit_name(unit):
    if not isinstance(unit, str) or not valid_name(unit):
        raise ValueError("not a service's name")
    return unit


def is_incident_id(name):
    """Whether it reads like 20261123T180000-1; such a name is also safe as a part of a path."""
    stem, dash, number = name.partition("-") if isinstance(name, str) else ("", "", "")
    digits = stem[:8] + stem[9:]
    return (len(stem) == 15 and stem[8] == "T" and dash == "-" and 0 < len(number) <= 9
            and not set(digits + number) - set("0123456789"))
