"""The forms of what is kept on disk: each document that is read is checked before it is believed.

Every reader here raises ValueError for what is not of its form, and returns what it was given otherwise.
"""

import hashlib
import re

from citadel.core.atomic import from_json, to_json
from citadel.core.clock import Moment, parse_stamp, stamp
from citadel.core.text import printable
from citadel.settings.values import valid_name

SCHEMA = 1
INCIDENT_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9]{1,9}\Z")
SET_LATER = {"end": str, "duration": (int, float), "outcome": str, "escalated": str, "bundle": object}  # None before


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
    """The state in the bytes of state.json. Its checksum says that we wrote it, so its form is not checked again."""
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError("not of schema %d" % SCHEMA)
    state = document.get("state")
    if document.get("sha256") != checksum(state):
        raise ValueError("its checksum does not match")
    for service in state["services"].values():
        service.setdefault("spell", None)       # 1.0 did not keep one
    return state


def incident_in(data, name):
    """The incident `name` in the bytes of its file; fields that an older version did not write are added, empty."""
    document = from_json(data)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or document.get("id") != name:
        raise ValueError("not incident %s" % name)
    for field, empty in new_incident(name, "", [0.0, 0.0, ""]).items():
        value = document.setdefault(field, empty)
        if value is not empty and not isinstance(value, SET_LATER.get(field, type(empty))):
            raise ValueError("%s is not of its kind" % field)
    for field, texts in (("causes", ("cause", "because", "first")), ("steps", ("do", "target", "outcome"))):
        if not all(isinstance(one, dict) and all(isinstance(one.get(key), str) for key in texts)
                   for one in document[field]):
            raise ValueError("%s are not of their kind" % field)
    moment(document["opened"])
    if document["unit"]:
        unit_name(document["unit"])
    parse_stamp(document["start"])
    if document["end"] is not None:
        parse_stamp(document["end"])
    return document


def as_kept(now):
    """A clock.Now as it is kept: what `moment` reads."""
    return [now.wall, now.boottime, now.boot_id]


def moment(value):
    """A clock.Moment from a list of a file, within what a clock can tell."""
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[2], str)
            and all(is_number(one) and abs(one) < 1e12 for one in value[:2])):
        raise ValueError("not a moment")
    return Moment(*value)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text(value):
    """A text of a file, fit to be shown."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return printable(value)


def unit_name(unit):
    if not isinstance(unit, str) or not valid_name(unit):
        raise ValueError("not a service's name")
    return unit


def is_incident_id(name):
    """Whether it reads like 20261123T180000-1; such a name is also safe as a part of a path."""
    return isinstance(name, str) and INCIDENT_ID.match(name) is not None
