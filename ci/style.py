"""Checks the rules of docs/dev/style.md that a program can check, and the links and paths of the Markdown files.
Prints the counts.

    python3 ci/style.py [--all]

Exits with 1 if a count is above its limit. The first findings of each rule are printed, all of them with --all.
"""

import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Commits after this one follow the rule for subjects.
BASE = "6f4e8a7"
SUBJECT_LIMIT = 72
# Per 1,000 comment lines.
OPENER_LIMIT = 8
SHARED_TYPES_LIMIT = 5
SHOWN = 15

# Type names that two modules may share, each with the reason.
SHARED_TYPES = {}

# Files that name the words in order to forbid them.
EXEMPT = {"ci/style.py"}
RUST_FOLDERS = ("build.rs", "src/", "demo/", "tests/", "benches/", "fuzz/", "allocator/")
OTHER = (".py", ".sh", ".yaml", ".yml", ".toml", ".service", ".socket", ".mjs", "Dockerfile", "justfile", ".ci/run")

# Each word with the plain one to use instead. The patterns match whole words, in any case.
WORDS = {
    r"nobody": "name the actor: no client, no node, no caller",
    r"whoever": "name the actor: the client that, the operator who",
    r"somebody": "name the actor",
    r"anybody": "name the actor: any client, any caller",
    r"strangers?": "name the actor: untrusted input, an unauthenticated client",
    r"anew": "again",
    # Lower case only, since Python has `is None`. "There is none" is plain.
    r"(?-i:(?<!there )(?:is|are|was|were) none)": "is not one; say what it is instead",
    r"side by side": "in parallel",
    r"goes on|go on|went on": "continues",
    r"where absent": "default",
    r"not taken": "rejected",
    r"lets": "allows",
    r"stands? (?:in|at|there|here|beside|twice|once|between|on|before|after|under|where|against|open)": "is, exists",
    r"(?:calls|requests|answers|bytes|rows|reads|once|twice) an? (?:second|minute|hour|day|call)": "per",
}
WORD = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in WORDS) + r")\b", re.IGNORECASE)
COMMENT = re.compile(r"\s*//[/!]?\s?(.*)")
OPENER = re.compile(r"(?:what|who|whom|whose|where|how|whether|why)\b", re.IGNORECASE)
# An associated type is indented and has its name from the trait.
TYPE = re.compile(r"^(?:\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|union|trait)|(?:pub(?:\([^)]*\))? )?type) (\w+)")


def git(*arguments):
    """The output of a git command, or None if it failed."""
    done = subprocess.run(("git", *arguments), cwd=REPO, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def project_files():
    """The paths of the project's files, relative to its root."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard")
    if listed is None:
        sys.exit("style: cannot list files: this is not a git work tree\nhint: run it in a clone")
    return [path for path in listed.splitlines() if os.path.isfile(os.path.join(REPO, path))]


def read(path):
    with open(os.path.join(REPO, path), encoding="utf-8", errors="replace") as file:
        return file.read().split("\n")


def prose(path, lines):
    """The lines of a file with their numbers. Code in Markdown is blanked: the style guide quotes words in it."""
    fenced = False
    for number, line in enumerate(lines, 1):
        if path.endswith(".md"):
            if line.lstrip().startswith("```"):
                fenced = not fenced
                continue
            line = "" if fenced else re.sub(r"`[^`]*`", "", line)
        yield number, line


class Report:
    """The findings of each rule."""

    def __init__(self, show_all):
        self._show_all = show_all
        self.failed = False

    def rule(self, text, findings, ok):
        print(f"{'ok    ' if ok else 'FAILED'}  {text}")
        if ok:
            return
        self.failed = True
        shown = findings if self._show_all else findings[:SHOWN]
        for finding in shown:
            print(f"          {finding}")
        if len(shown) < len(findings):
            print(f"          … and {len(findings) - len(shown)} more (--all shows them)")


def check_words(report, files):
    findings = []
    for path, lines in files.items():
        for number, line in prose(path, lines):
            for found in WORD.finditer(line):
                findings.append(f"{path}:{number}: {found[0]!r}: {instead_of(found[0])}")
    report.rule(f"words that are not used: {len(findings)} (limit 0)", findings, not findings)


def instead_of(word):
    return next(instead for pattern, instead in WORDS.items() if re.fullmatch(pattern, word, re.IGNORECASE))


def check_openers(report, rust):
    comments, findings = 0, []
    for path, lines in rust.items():
        for number, line in enumerate(lines, 1):
            comment = COMMENT.match(line)
            if not comment:
                continue
            comments += 1
            if OPENER.match(comment[1]):
                findings.append(f"{path}:{number}: {comment[1][:90]}")
    rate = 1000 * len(findings) / max(comments, 1)
    text = f"comment lines that open with a question word: {rate:.1f} per 1,000 of {comments} (limit {OPENER_LIMIT})"
    report.rule(text, findings, rate <= OPENER_LIMIT)


def check_type_names(report, rust):
    places = {}
    for path, lines in rust.items():
        if not path.startswith("src/"):
            continue
        for number, line in enumerate(lines, 1):
            found = TYPE.match(line)
            if found:
                places.setdefault(found[1], []).append(f"{path}:{number}")
    shared = {name: where for name, where in places.items() if len(where) > 1}
    unexplained = [f"{name}: {', '.join(where)}" for name, where in sorted(shared.items()) if name not in SHARED_TYPES]
    unused = [f"{name}: in SHARED_TYPES of ci/style.py, but not shared" for name in SHARED_TYPES if name not in shared]
    text = f"type names of src/ shared by two types: {len(shared)} of {len(places)} (limit {SHARED_TYPES_LIMIT})"
    report.rule(text, unexplained + unused, len(shared) <= SHARED_TYPES_LIMIT and not unexplained and not unused)


def check_subjects(report):
    log = git("log", "--format=%h %s", f"{BASE}..HEAD")
    if log is None:
        print(f"skip    commit subjects: commit {BASE} is not in this clone")
        return
    subjects = [line.split(" ", 1) for line in log.splitlines()]
    findings = [f"{commit}: {len(text)} characters: {text}" for commit, text in subjects if len(text) > SUBJECT_LIMIT]
    text = f"commit subjects above {SUBJECT_LIMIT} characters: {len(findings)} of {len(subjects)} (limit 0)"
    report.rule(text, findings, not findings)


def anchors(lines):
    """The anchors of the headings of a Markdown file, as GitHub and Gitea make them."""
    headings = (re.match(r"#+ (.*)", line) for line in lines)
    return {re.sub(r"[^\w -]", "", found[1].lower()).strip().replace(" ", "-") for found in headings if found}


def check_links(report, markdown):
    count, findings = 0, []
    for path, lines in markdown.items():
        for number, line in prose(path, lines):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if "://" in target:
                    continue
                count += 1
                name, _, anchor = target.partition("#")
                file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                if not os.path.exists(os.path.join(REPO, file)):
                    findings.append(f"{path}:{number}: {target}: no such file")
                elif anchor and anchor not in anchors(read(file)):
                    findings.append(f"{path}:{number}: {target}: no such heading")
    report.rule(f"broken links in Markdown files: {len(findings)} of {count} (limit 0)", findings, not findings)


def check_paths(report, markdown):
    """Checks that files and folders in inline code exist, such as `src/call/`."""
    folders = r"\.ci|\.gitea|allocator|benches|ci|demo|deploy|docs|fuzz|src|tests"
    count, findings = 0, []
    for path, lines in markdown.items():
        for number, line in enumerate(lines, 1):
            for named in re.findall(rf"`((?:{folders})/[\w./-]*)`", line):
                count += 1
                if not os.path.exists(os.path.join(REPO, named)):
                    findings.append(f"{path}:{number}: {named}: no such file")
    report.rule(f"missing paths in Markdown files: {len(findings)} of {count} (limit 0)", findings, not findings)


def main(*arguments):
    report = Report("--all" in arguments)
    paths = [path for path in project_files() if path not in EXEMPT]
    rust = {path: read(path) for path in paths if path.endswith(".rs") and path.startswith(RUST_FOLDERS)}
    other = {path: read(path) for path in paths if path.endswith((".md", *OTHER))}
    check_words(report, {**rust, **other})
    check_openers(report, rust)
    check_type_names(report, rust)
    check_subjects(report)
    markdown = {path: lines for path, lines in other.items() if path.endswith(".md")}
    check_links(report, markdown)
    check_paths(report, markdown)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
