"""Files below a root: no link and no other user leads a write or a removal elsewhere."""

import os

import pytest
from installing import ME, install

from citadel.core.errors import CitadelError, NotPermitted
from citadel.installer.tree import Tree, leftover_of


def test_a_directory_of_another_user_on_the_way_is_refused(product, root):
    with pytest.raises(NotPermitted, match="belongs to uid %d" % ME if ME else "x"):
        if ME == 0:
            os.mkdir(root + "/opt")
            os.chown(root + "/opt", 12345, 12345)
            try:
                install(product, root)
            except NotPermitted as error:
                assert "/opt belongs to uid 12345" in str(error)
                raise NotPermitted("x")
        Tree(root, 12345).locate("/opt/citadel")


def test_a_directory_that_everybody_may_write_is_refused(product, root):
    os.mkdir(root + "/opt")
    os.chmod(root + "/opt", 0o777)
    with pytest.raises(NotPermitted, match="/opt is writable by everybody"):
        install(product, root)
    assert not os.path.exists(root + "/opt/citadel")


def test_links_on_the_way_are_followed_inside_the_root_only(product, root, tmp_path):
    outside = tmp_path / "srv"
    outside.mkdir()
    os.makedirs(root + str(outside))
    os.mkdir(root + "/srv")
    os.symlink("/srv", root + "/opt")
    os.symlink("../../../../.." + str(outside), root + "/etc")
    install(product, root, "--schedule", "cron")
    assert os.path.exists(root + "/srv/citadel/install.py")
    assert os.path.exists(root + str(outside) + "/cron.d/citadel")
    assert os.listdir(str(outside)) == []


def test_a_link_through_what_is_not_there_stays_inside_the_root(root):
    os.symlink("missing/../../../../elsewhere", root + "/opt")
    assert Tree(root, ME).locate("/opt/citadel") == root + "/elsewhere/citadel"


def test_a_link_to_nowhere_is_named(product, root):
    os.symlink("/nowhere", root + "/opt")
    with pytest.raises(CitadelError, match="/opt is a link that leads nowhere"):
        install(product, root)


def test_a_planted_leftover_is_not_written_through(product, root, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.makedirs(root + "/opt/citadel")
    os.symlink(str(victim), leftover_of(root + "/opt/citadel/install.py"))
    install(product, root)
    assert victim.read_text() == "precious"


def test_a_link_to_elsewhere_is_removed_and_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "link").symlink_to(tmp_path / "kept")
    assert Tree(str(tmp_path), ME).remove_whole("/gone") == []
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"
