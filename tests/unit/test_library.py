"""Profiles are found by name, nearest place first, and put into order with their bases first."""

import os
import pathlib

import pytest

from mgelaunch.environment.library import Chain, Found, available, chain, find
from mgelaunch.environment.project import Places, project_root, shipped_folder
from mgelaunch.finding import Finding


def write(folder, name, text=""):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def shelf(tmp_path):
    """The folder of each place by its label; they need not exist."""
    return {
        "project": tmp_path / "project" / ".mgelaunch",
        "search path": tmp_path / "lab",
        "user": tmp_path / "user",
        "site": tmp_path / "site",
        "shipped": tmp_path / "shipped",
    }


@pytest.fixture
def places(tmp_path, shelf):
    cwd = tmp_path / "project" / "sub"
    cwd.mkdir(parents=True)
    return Places(
        cwd=str(cwd),
        project_root=str(tmp_path / "project"),
        search_path=("../../lab",),
        config=lambda: (("user", str(shelf["user"])), ("site", str(shelf["site"]))),
        shipped=str(shelf["shipped"]),
    )


def names(files: Chain):
    return [file.name for file in files.files]


def only_finding(files: Chain) -> Finding:
    (finding,) = files.findings
    assert finding.severity == "error"
    return finding


ORDER = ["project", "search path", "user", "site", "shipped"]


@pytest.mark.parametrize("first", range(5), ids=ORDER)
def test_the_first_place_that_has_the_name_wins(first, shelf, places):
    for label in ORDER[first:]:
        write(shelf[label], "a")
    found = find("a", places)
    assert (found.name, found.shelf) == ("a", ORDER[first])
    assert os.path.samefile(found.path, shelf[ORDER[first]] / "a.toml")


def test_without_a_project_its_place_is_not_looked_at(tmp_path, shelf):
    write(shelf["shipped"], "a")
    assert find("a", Places(str(tmp_path), None, (), tuple, str(shelf["shipped"]))).shelf == "shipped"


def test_the_config_folders_are_asked_for_only_when_no_earlier_place_has_the_name(shelf):
    def config():
        raise AssertionError

    write(shelf["project"], "a")
    root = str(shelf["project"].parent)
    assert find("a", Places(root, root, (), config, str(shelf["shipped"]))).shelf == "project"


def test_a_shipped_profile_can_be_named_past_those_that_hide_it(shelf, places):
    write(shelf["project"], "a")
    write(shelf["shipped"], "a")
    assert find("shipped:a", places) == Found("a", str(shelf["shipped"] / "a.toml"), "shipped")


@pytest.mark.parametrize("name", ["../x/a.toml", "./../x/a.toml", "a.toml"])
def test_a_name_with_a_slash_or_toml_is_a_path_relative_to_the_working_directory(name, tmp_path, shelf, places):
    write(shelf["project"], "a")
    path = write(tmp_path / "project" / ("x" if "/" in name else "sub"), "a")
    assert find(name, places) == Found("a", path, "path")


def test_an_unknown_name_is_told_with_near_names_and_the_places_looked_at(shelf, places):
    write(shelf["shipped"], "dtr")
    write(shelf["user"], "dtr-big")
    finding = find("dtrr", places)
    assert finding.code == "profile.unknown"
    assert "dtrr" in finding.message
    assert "did you mean dtr" in finding.message
    assert all(os.path.basename(shelf[label]) in finding.message for label in ORDER)


def test_an_unknown_shipped_name_was_looked_for_among_the_shipped_only(shelf, places):
    write(shelf["project"], "a")
    finding = find("shipped:a", places)
    assert (finding.code, str(shelf["project"]) in finding.message) == ("profile.unknown", False)


def test_an_unknown_path_is_told_with_its_near_neighbours(tmp_path, places):
    write(tmp_path / "x", "detector")
    finding = find("../../x/detektor.toml", places)
    assert str(tmp_path / "x" / "detektor.toml") in finding.message
    assert "did you mean detector?" in finding.message


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_a_name_that_no_file_can_have_is_unknown(name, places):
    assert find(name, places).code == "profile.unknown"


def test_the_list_has_every_name_once_in_the_order_of_lookup_with_what_it_hides(shelf, places):
    for label, name in (
        ("shipped", "dtr"),
        ("shipped", "quiet"),
        ("user", "dtr"),
        ("project", "dtr"),
        ("project", "b"),
    ):
        write(shelf[label], name)
    (shelf["project"] / "notes.txt").write_text("")
    listed = available(places)
    assert [(found.name, found.shelf) for found in listed] == [
        ("b", "project"),
        ("dtr", "project"),
        ("quiet", "shipped"),
    ]
    assert [hidden.shelf for hidden in listed[1].hides] == ["user", "shipped"]


@pytest.mark.parametrize("sign", [".mgelaunch/", "pyproject.toml", ".git", ".git/"])
def test_the_project_root_is_the_nearest_folder_upwards_with_a_sign_of_a_project(sign, tmp_path):
    inner = tmp_path / "outer" / "root" / "a" / "b"
    inner.mkdir(parents=True)
    for folder in (tmp_path / "outer", tmp_path / "outer" / "root"):
        (folder / sign).mkdir() if sign.endswith("/") else (folder / sign).write_text("")
    root = str(tmp_path / "outer" / "root")
    assert project_root(str(inner), "/nowhere") == root
    assert project_root(root, "/nowhere") == root


def test_the_home_directory_is_no_project_and_nothing_above_it_is_one(tmp_path):
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    for folder in (tmp_path, home):
        (folder / ".git").mkdir()
    (tmp_path / "link").symlink_to(home)
    assert project_root(str(home / "work"), str(home)) is None
    assert project_root(str(home / "work"), str(tmp_path / "link")) is None
    assert project_root(str(home), str(home)) is None


def test_bases_come_first_and_left_to_right(shelf, places):
    write(shelf["project"], "a", "extends = ['b', 'c']")
    write(shelf["project"], "b", "extends = ['d']")
    for name in "cd":
        write(shelf["project"], name)
    files = chain(["a"], places, "1.0")
    assert (names(files), files.findings) == (["d", "b", "c", "a"], ())
    assert [found.name for found in files.found] == names(files)


def test_every_file_stands_once_at_its_first_place(shelf, places):
    write(shelf["project"], "base")
    for name in "ab":
        write(shelf["project"], name, "extends = ['base']")
    assert names(chain(["a", "b", "base"], places, "1.0")) == ["base", "a", "b"]
    assert names(chain(["b", "a", "b"], places, "1.0")) == ["base", "b", "a"]


def test_a_file_under_two_names_is_one_file(shelf, places):
    write(shelf["project"], "a")
    (shelf["project"] / "b.toml").symlink_to("a.toml")
    assert names(chain(["b", "a", "../.mgelaunch/a.toml"], places, "1.0")) == ["b"]


def test_a_path_in_extends_is_relative_to_its_file(tmp_path, places):
    write(tmp_path / "lab" / "deep", "base")
    write(tmp_path / "lab", "a", "extends = ['deep/base.toml']")
    write(tmp_path / "lab" / "deep", "top", "extends = ['../a.toml']")
    files = chain(["../../lab/deep/top.toml"], places, "1.0")
    assert (names(files), files.findings) == (["base", "a", "top"], ())
    assert files.files[0].folder == str(tmp_path / "lab" / "deep")


def test_a_project_profile_can_extend_the_shipped_one_that_it_hides(shelf, places):
    write(shelf["shipped"], "dtr")
    write(shelf["project"], "dtr", "extends = ['shipped:dtr']")
    assert [found.shelf for found in chain(["dtr"], places, "1.0").found] == ["shipped", "project"]


def test_a_profile_that_extends_itself_is_told_how_to_reach_the_shipped_one(shelf, places):
    path = write(shelf["project"], "dtr", "extends = ['dtr']")
    assert only_finding(chain(["dtr"], places, "1.0")).remedy == ""
    write(shelf["shipped"], "dtr")
    finding = only_finding(chain(["dtr"], places, "1.0"))
    assert (finding.code, finding.place) == ("profile.cycle", f"{path}:1:12")
    assert finding.remedy == 'extends = ["shipped:dtr"]'


def test_a_cycle_is_told_link_by_link(shelf, places):
    a = write(shelf["project"], "a", "extends = ['b']")
    b = write(shelf["project"], "b", "\nextends = ['c']")
    c = write(shelf["project"], "c", "\n\nextends = ['b']")
    files = chain(["a"], places, "1.0")
    finding = only_finding(files)
    assert (finding.code, finding.place) == ("profile.cycle", f"{c}:3:12")
    assert finding.message.endswith(f"b ({b}:2) -> c ({c}:3) -> b")
    assert a not in finding.message
    assert names(files) == ["c", "b", "a"]


@pytest.mark.parametrize(("files", "codes"), [(10, []), (11, ["profile.depth"]), (20, ["profile.depth"])])
def test_ten_files_may_extend_each_other_in_a_row(files, codes, shelf, places):
    for number in range(files):
        write(shelf["project"], f"p{number}", f"extends = ['p{number + 1}']" if number < files - 1 else "")
    found = chain(["p0"], places, "1.0")
    assert [finding.code for finding in found.findings] == codes
    assert names(found) == [f"p{number}" for number in reversed(range(min(files, 10)))]


def test_an_unknown_base_is_told_where_it_is_named(shelf, places):
    path = write(shelf["project"], "a", "extends = [\n  'nothing',\n]")
    finding = only_finding(chain(["a"], places, "1.0"))
    assert (finding.code, finding.place) == ("profile.unknown", f"{path}:2:3")


def test_an_unknown_profile_is_told_where_it_was_asked_for(places):
    assert only_finding(chain(["nothing"], places, "1.0")).place == "--profile"
    assert only_finding(chain(["nothing"], places, "1.0", origin="MGELAUNCH_PROFILE")).place == "MGELAUNCH_PROFILE"


def test_all_unknown_names_come_out_in_one_run(shelf, places):
    write(shelf["project"], "a", "extends = ['x', 'y']")
    assert [finding.code for finding in chain(["a", "z"], places, "1.0").findings] == ["profile.unknown"] * 3


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_cannot_be_read_is_an_error_and_gives_way_to_no_later_place(kind, shelf, places):
    write(shelf["shipped"], "a")
    shelf["project"].mkdir()
    path = shelf["project"] / "a.toml"
    path.mkdir() if kind == "folder" else path.symlink_to("nowhere")
    finding = only_finding(chain(["a"], places, "1.0"))
    assert finding.code == "file.unreadable"
    assert str(path) in finding.message


def test_what_is_wrong_inside_a_file_stays_with_the_file(shelf, places):
    write(shelf["project"], "a", "[environment]")
    files = chain(["a"], places, "1.0")
    assert files.findings == ()
    assert [finding.code for finding in files.files[0].findings] == ["profile.key"]


def test_a_file_below_the_working_directory_has_a_short_path(places):
    path = write(pathlib.Path(places.cwd), "a", "x = 1")
    (file,) = chain(["./a.toml"], places, "1.0").files
    assert file.findings[0].place == "a.toml:1:1"
    assert file.folder == os.path.dirname(path)


def test_the_shipped_profiles_lie_in_the_package_or_beside_it():
    assert os.path.isfile(os.path.join(shipped_folder(), "dtr.toml"))
