"""What a verb is given, and what the verbs share."""

import os
import time
from importlib import import_module

from citadel.core import clock
from citadel.core.errors import NotPermitted, UsageError
from citadel.core.run import run
from citadel.core.terminal import style_of
from citadel.core.text import printable, to_json
from citadel.model import Probe
from citadel.observe import probes, systemctl
from citadel.record.store import Store
from citadel.settings import file as settings_file

NAME = "citadel-restart-manager"


class Call:
    """One call of the command: its options, where to print, the world outside, the record on disk and the settings."""

    def __init__(self, options, out):
        self.options, self.out = options, out
        self.style = style_of(out, os.environ)
        self.paint = self.style.paint
        self.run, self.now, self.monotonic, self.sleep = run, clock.now, time.monotonic, time.sleep
        self.is_root = os.geteuid() == 0
        self.store, self._settings = Store(), None

    def perform(self):
        """Has the verb's file do it; the exit code."""
        return import_module("citadel.commands." + self.options.module).perform(self)

    @property
    def settings(self):
        if self._settings is None:
            path = self.options.config
            self._settings = settings_file.read(path or settings_file.DEFAULT_PATH, must_exist=bool(path))
        return self._settings

    @property
    def service(self):
        """The settings of the service that the call is about."""
        return the_service(self.settings, self.options.service)

    @property
    def unit(self):
        return self.service.unit

    def look(self):
        """The service's unit as systemd has it now."""
        return systemctl.units([self.unit], run=self.run)[self.unit]

    def ask(self, patience=float("inf")):
        """What its health probe answers within `patience` seconds and what the settings allow."""
        health, limit = self.service.health, self.settings.recovery.probe_timeout
        return probes.ask([health], min(patience, limit))[health] if health else Probe()

    def only_root(self, what):
        if not self.is_root:
            raise NotPermitted("%s needs root" % what)

    def say(self, text):
        self.out.write(text + "\n")
        self.out.flush()

    def report(self, *lines, **fields):
        """The result: with --json the one JSON document, of `fields`, else the lines."""
        if self.options.json:
            lines = [to_json(dict({"schema": 1, "action": self.options.action}, **fields)).rstrip("\n")]
        for line in lines:
            self.say(line)


def the_service(settings, unit):
    """The ServiceSettings of `unit`, by default the first one; UsageError when the settings do not list it."""
    found = settings.service(unit) if unit else settings.services[0]
    if found is None:
        raise UsageError("--service %s: not one of the services in the settings: %s" % (
            printable(unit, 80), " ".join(service.unit for service in settings.services)))
    return found


def finding_as_data(finding):
    first, *others = ({"cause": one.cause, "because": one.because, "target": one.target}
                      for one in (finding, *finding.others))
    return dict(first, unit=finding.unit, condition=finding.condition, others=others)


def dependency_as_data(dependency):
    return {"name": dependency.name, "unit": dependency.unit.name, "active": dependency.unit.active,
            "probe": dependency.probe}
