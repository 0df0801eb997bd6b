"""What we leave behind when we have a defect."""

import os

from citadel.core import entry


def test_a_defect_that_is_met_each_minute_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)           # whose files they are is all that it asks
    for number in range(entry.MOST_DEFECTS + 5):
        path = tmp_path / ("defect-x-%d.txt" % number)
        path.write_text("")
        os.utime(str(path), (1000 + number, 1000 + number))
    (tmp_path / "state.json").write_text("{}")
    sentence = entry.write_defect("x", ValueError("no\x1b[31m\nsuch"), str(tmp_path))
    left = sorted(path.name for path in tmp_path.glob("defect-*"))
    assert len(left) == entry.MOST_DEFECTS and (tmp_path / "state.json").exists()
    assert "defect-x-5.txt" not in left and "defect-x-6.txt" in left, "the oldest go"
    assert sentence.startswith("a defect of ours: ValueError: no\\x1b[31m such; the details are in %s/defect-x-" % tmp_path)
    assert os.path.basename(sentence.rpartition(" ")[2]) in left


def test_a_defect_without_a_word(tmp_path):
    assert entry.write_defect("x", ValueError(), str(tmp_path / "nowhere")).startswith("a defect of ours: ValueError:; the")
