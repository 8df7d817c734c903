#!/usr/bin/env python3
# The rules that a machine can hold. Prints file:line: rule: what, for each violation; exit 1 if there is one.
#
#   tests/tidy/tidy.py               the whole repository (what git knows and does not ignore)
#   tests/tidy/tidy.py --functions   also lists functions longer than FUNCTION_LINES
#
# A rule is a function from (path, text) to (line, message) pairs. Before the repository is judged every rule is
# shown a text that breaks it, and has to say so: PROOFS, below.
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

ROOMS = {  # what a room may include
    "base": {"base"},
    "consumer": {"consumer", "base"},
    "trainer": {"trainer", "base"},
    "publisher": {"publisher", "trainer", "base"},
    "daemon": {"daemon", "publisher", "trainer", "consumer", "base"},
}
LIBRARY = {"base", "consumer", "trainer", "publisher"}
LINE = 120
STATEFUL = {"base/failpoint.c", "base/disk.c"}  # say themselves why
LONG = {"consumer/schemas.c"}  # texts that equal schemas/*.avsc line by line
FOREIGN = ("tests/tools/kafka/",)  # the kit that runs Kafka, kept as it came
FILE_LINES = 800
FUNCTION_LINES = 90

# Third-party headers, and the files that own them (regular expressions on the path).
OWNERS = [
    (r"librdkafka/", r"consumer/kafka\w*\.[ch]|daemon/(broker|produce_kafka|bench_machine)\.c"),
    (r"cblas\.h|openblas", r"trainer/blas\.c"),
    (r"hiredis/", r"publisher/redis\.[ch]"),
    (r"avro\.h|avro/", r"consumer/container\.c|daemon/bench_decode\.c"),
    (r"curl/", r"consumer/registry\.c|daemon/produce_registry\.c"),
    (r"jansson\.h", r"consumer/(schema\w*|registry)\.c|trainer/descriptor\w*\.[ch]|publisher/manifest\.c|"
                    r"daemon/\w+\.c"),
    (r"yaml\.h", r"base/config_read\.c"),
    (r"xxhash\.h", r"base/hash\.c|trainer/table\.c"),
    (r"zlib\.h", r"consumer/files_container\.c"),
    (r"rocksdb/", r"daemon/store_rocks\.c"),
]

# Banned everywhere in C, with what to use instead.
BANNED = {
    "strcpy": "memcpy, snprintf", "strcat": "snprintf", "strncpy": "memcpy", "strncat": "snprintf",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "getline", "strtok": "strcspn", "strtok_r": "strcspn",
    "atoi": "base_config_parse_int", "atol": "base_config_parse_int", "atoll": "base_config_parse_int",
    "atof": "base_config_parse_real", "alloca": "base_alloc", "tmpnam": "mkdtemp", "mktemp": "mkdtemp",
    "tempnam": "mkdtemp", "rand": "base_random_bits", "srand": "base_random_key", "random": "base_random_bits",
    "drand48": "base_random_uniform", "rand_r": "base_random_bits", "strerror": "base_error_set_errno",
    "localtime": "gmtime_r", "gmtime": "gmtime_r", "ctime": "strftime", "asctime": "strftime", "vfork": "posix_spawn",
}
# Banned in library rooms: they neither print nor exit nor read what the caller did not give them.
LIBRARY_BANNED = {
    "exit": "an error", "_exit": "an error", "quick_exit": "an error", "abort": "an error, or assert",
    "printf": "an error", "puts": "an error", "putchar": "an error", "fprintf": "an error", "vprintf": "an error",
    "vfprintf": "an error", "fputs": "an error", "perror": "base_error_set_errno", "syslog": "an error",
    "getenv": "the configuration", "secure_getenv": "the configuration", "time": "struct base_clock",
    "signal": "daemon/signals.h", "sigaction": "daemon/signals.h", "system": "posix_spawn",
}
# (file, call): what is right there, and only there.
ALLOWED = {
    ("tests/unit/support_tsan.c", "rand_r"),                         # its twin
    ("base/bytes.c", "abort"), ("base/bytes.c", "fprintf"),          # memory that must be there
    ("trainer/blas.c", "getenv"), ("trainer/blas.c", "abort"), ("trainer/blas.c", "fprintf"),  # before main begins
    ("trainer/arena.c", "abort"), ("trainer/arena.c", "fprintf"),    # memory that must be there
}


def room_of(path):
    return path.split("/", 1)[0]


def is_c(path):
    return path.endswith((".c", ".h"))


def code_of(text):
    """The C text with comments, strings and characters blanked, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def rule_arrows(path, text):
    """Includes point down, and name their room."""
    if not is_c(path) or room_of(path) not in ROOMS:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if match and room_of(match[1]) not in ROOMS[room_of(path)]:
            yield number, f'"{match[1]}" may not be included from {room_of(path)}/'


def rule_owners(path, text):
    """A third-party header is included only by the files that own it. Tests may include what they compare with."""
    if not is_c(path) or room_of(path) not in ROOMS:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
        for header, owners in OWNERS if match else []:
            if re.match(header, match[1]) and not re.fullmatch(owners, path):
                yield number, f"<{match[1]}> belongs to {owners}"


def rule_role(path, text):
    """Every file opens with a comment that states its role."""
    lines = text.split("\n")
    if is_c(path):
        if not re.match(r"// \S.*", lines[0]):
            yield 1, "the file does not open with a comment that states its role"
    elif path.endswith((".py", ".sh", ".cmake", ".yaml", ".service")) or lines[0].startswith("#!"):
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if not re.match(r'(# \S|""")', first):
            yield 1, "the file does not open with a comment that states its role"


def rule_banned(path, text):
    """Calls that have a better replacement."""
    if not is_c(path):
        return
    banned = dict(BANNED)
    if room_of(path) in LIBRARY:
        banned.update(LIBRARY_BANNED)
    code = code_of(text)
    for match in re.finditer(r"(?<![\w.>])([A-Za-z_]\w*)\s*\(", code):
        call = match[1]
        if call in banned and (path, call) not in ALLOWED:
            yield line_at(code, match.start()), f"{call}() is banned here: use {banned[call]}"


def rule_assert(path, text):
    """An assertion changes nothing, and is never compiled away."""
    if not is_c(path):
        return
    code = code_of(text)
    if re.search(r"\bNDEBUG\b", code):
        yield line_at(code, re.search(r"\bNDEBUG\b", code).start()), "NDEBUG: assertions stay on"
    for match in re.finditer(r"\bassert\s*\(", code):
        depth, end = 1, match.end()
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        if re.search(r"\+\+|--|(?<![=!<>])=(?!=)", code[match.end():end - 1]):
            yield line_at(code, match.start()), "an assertion with a side effect"


def rule_state(path, text):
    """Library rooms have no hidden global state: what is static at file scope is const."""
    if not path.endswith(".c") or room_of(path) not in LIBRARY or path in STATEFUL:
        return
    code = code_of(text)
    for match in re.finditer(r"^(?:static\s+)?(?!.*\bconst\b)(?:struct \w+|unsigned \w+|\w+)[ \*]+\w+(?:\[[^\]]*\])*"
                             r"\s*(?:=[^;]*)?;", code, flags=re.M):
        line = match[0].split("\n")[0]
        if not re.match(r"(extern|typedef|return|goto|enum|struct \w+;|union)\b", line):
            yield line_at(code, match.start()), "state at file scope that is not const"


def rule_lines(path, text):
    """Lines of at most LINE characters, without tabs or blanks at the end; a newline ends the file."""
    if not (is_c(path) or path.endswith((".py", ".sh", ".cmake", ".yaml", ".service"))
            or text.startswith("#!") or path.endswith("CMakeLists.txt")):
        return
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE and path not in LONG:
            yield number, f"{len(line)} characters; at most {LINE}"
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
        if "\t" in line and is_c(path):
            yield number, "a tab"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def rule_size(path, text):
    """Files of at most FILE_LINES lines: past that there is a second idea in it."""
    if is_c(path) and text.count("\n") > FILE_LINES:
        yield FILE_LINES, f"{text.count(chr(10))} lines; at most {FILE_LINES}"


def rule_guard(path, text):
    """A header's guard is named after its path."""
    if path.endswith(".h") and room_of(path) in ROOMS:
        name = re.sub(r"\W", "_", path).upper()
        if f"#ifndef {name}\n#define {name}\n" not in text:
            yield 1, f"the guard {name} is missing"


def rule_unfinished(path, text):
    """Nothing is left for later in the code."""
    if not is_c(path) and not path.endswith((".py", ".sh")) or path == "tests/tidy/tidy.py":
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
        if match:
            yield number, match[1]


def tour_of(readme):
    """The items of README's tour: (line, path, text). `room/name.[ch]` is an item for two files."""
    begin = readme.find("\n## Tour\n")
    for number, line in enumerate(readme.split("\n"), 1):
        match = re.fullmatch(r"- `([^`]+)` ?(.*)", line)
        if match and begin >= 0 and number > readme.count("\n", 0, begin):
            yield number, match[1], match[2]


def tour_files(item):
    return [item[:-4] + "c", item[:-4] + "h"] if item.endswith(".[ch]") else [item]


def rule_tour(path, text, readme=None):
    """Every file of the rooms, schemas and ops stands in one item of README's tour; an item has files, and a text."""
    if path == "README.md":
        for number, item, what in tour_of(text):
            for file in tour_files(item):
                if not (ROOT / file).exists():
                    yield number, f"there is no {file}"
            if not what:
                yield number, f"{item}: what is it?"
    elif room_of(path) in set(ROOMS) | {"schemas", "ops"} and not path.endswith(".toml"):
        readme = readme if readme is not None else (ROOT / "README.md").read_text(encoding="utf-8")
        items = [item for _, item, _ in tour_of(readme) if path in tour_files(item)]
        if len(items) != 1:
            yield 1, f"{path} stands in {len(items)} items of README's tour; it should be one"


RULES = [rule_arrows, rule_owners, rule_role, rule_banned, rule_assert, rule_state, rule_lines, rule_size, rule_guard,
         rule_unfinished, rule_tour]

# (rule, path, a text that breaks it, a text that does not).
PROOFS = [
    (rule_arrows, "base/x.c", '#include "consumer/lane.h"\n', '#include "base/bytes.h"\n'),
    (rule_arrows, "consumer/x.c", '#include "trainer/table.h"\n', '#include "consumer/lane.h"\n'),
    (rule_arrows, "trainer/x.h", '#include "table.h"\n', '#include "trainer/table.h"\n'),
    (rule_arrows, "publisher/x.c", '#include "daemon/config.h"\n', '#include "trainer/table.h"\n'),
    (rule_owners, "trainer/x.c", "#include <cblas.h>\n", "#include <math.h>\n"),
    (rule_owners, "consumer/lane.c", "#include <librdkafka/rdkafka.h>\n", "#include <zebra.h>\n"),
    (rule_owners, "daemon/config.c", "#include <hiredis/hiredis.h>\n", "#include <jansson.h>\n"),
    (rule_role, "base/x.c", '#include "base/bytes.h"\n', "// What it is.\n"),
    (rule_role, "tests/x.py", "import sys\n", "#!/usr/bin/env python3\n# What it is.\n"),
    (rule_banned, "daemon/x.c", "    strcpy(a, b);\n", '    say("strcpy(a, b)"); // strcpy(a, b)\n'),
    (rule_banned, "base/x.c", "    printf(x);\n", "    x->printf(1); my_printf(2); snprintf(a, 1, b);\n"),
    (rule_banned, "consumer/x.c", "    exit(1);\n", "    on_exit_do(1);\n"),
    (rule_banned, "trainer/x.c", "    n = time(NULL);\n", "    n = some.time(NULL);\n"),
    (rule_assert, "base/x.c", "assert(n++ < 3);\n", "assert(n <= 3 && m == 4 && k >= 2 && j != 1);\n"),
    (rule_assert, "base/x.c", "assert((n = next()) != 0);\n", 'assert(f(")=") < 3); n = 3;\n'),
    (rule_assert, "base/x.c", "#define NDEBUG\n", "// NDEBUG\n"),
    (rule_state, "base/x.c", "static int count;\n", "static const int count = 3;\nstatic int f(int a);\n"),
    (rule_state, "trainer/x.c", "static struct table *table = NULL;\n", "int f(void)\n{\n    int a = 3;\n}\n"),
    (rule_state, "consumer/x.c", "static char names[3][4];\n", "static const char *const names[] = {0};\n"),
    (rule_lines, "base/x.c", "x" * 121 + "\n", "x" * 120 + "\n"),
    (rule_lines, "base/x.c", "x \n", "x\n"),
    (rule_lines, "base/x.c", "\tx\n", "    x\n"),
    (rule_lines, "base/x.c", "x", "x\n"),
    (rule_size, "base/x.c", "x\n" * 801, "x\n" * 800),
    (rule_guard, "base/x.h", "#ifndef X_H\n#define X_H\n", "#ifndef BASE_X_H\n#define BASE_X_H\n"),
    (rule_unfinished, "base/x.c", "// TODO: all of it\n", "// METODO\n"),
]


def functions(text):
    """(line, name, lines) of each function of a C text in our style: the body between '{' and '}' in column 0."""
    lines = code_of(text).split("\n")
    for number, line in enumerate(lines):
        if line == "{" and number > 0:
            end = next((k for k in range(number, len(lines)) if lines[k].startswith("}")), number)
            head = " ".join(lines[max(0, number - 4):number])
            names = re.findall(r"(\w+)\s*\(", head)
            yield number + 1, names[0] if names else "?", end - number - 1


def prove():
    failed = []
    for rule, path, bad, good in PROOFS:
        if not list(rule(path, bad)):
            failed.append(f"{rule.__name__} does not see {bad!r} in {path}")
        if list(rule(path, good)):
            failed.append(f"{rule.__name__} objects to {good!r} in {path}")
    tour = "`base/hash.c`\n## Tour\n\n- `base/ring.[ch]` a ring\n- `base/log.c` a log\n"
    for path, right in [("base/ring.c", True), ("base/ring.h", True), ("base/log.c", True), ("base/log.h", False),
                        ("base/hash.c", False), ("ops/ring.c", False), ("tests/x.c", True)]:
        if bool(list(rule_tour(path, "", tour))) == right:
            failed.append(f"rule_tour on {path}")
    if len(list(rule_tour("base/log.c", "", tour + "- `base/log.[ch]` again\n"))) != 1:
        failed.append("rule_tour does not see a file named twice")
    if len(list(rule_tour("README.md", "\n## Tour\n- `base/no.c` nothing\n- `base/ring.[ch]`\n"))) != 2:
        failed.append("rule_tour does not see what is wrong with an item")
    found = list(functions("int f(int a,\n      int b)\n{\n    a;\n    b;\n}\n"))
    if found != [(3, "f", 2)]:
        failed.append(f"functions: {found}")
    for rule in RULES:
        if rule is not rule_tour and rule not in [proof[0] for proof in PROOFS]:
            failed.append(f"{rule.__name__} has no proof")
    return failed


def repository():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\n")
    for path in sorted(set(listed)):
        file = ROOT / path
        if not path or path.startswith(FOREIGN) or not file.is_file():
            continue
        try:
            yield path, file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary file


def main():
    failed = prove()
    for text in failed:
        print(f"tests/tidy/tidy.py:1: proof: {text}")
    violations = len(failed)
    for path, text in repository():
        for rule in RULES:
            for line, message in rule(path, text):
                print(f"{path}:{line}: {rule.__name__[5:]}: {message}")
                violations += 1
        if "--functions" in sys.argv and is_c(path):
            for line, name, lines in functions(text):
                if lines > FUNCTION_LINES:
                    print(f"{path}:{line}: note: {name} has {lines} lines")
    print(f"{violations} violations" if violations else "tidy")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
