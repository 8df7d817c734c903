// Fail points: what can be armed, what happens at one, and that the table and the code name the same ones.
#include "base/failpoint.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAMES_MAX = 256 };

static int names(const char *name[NAMES_MAX])
{
    int count = 0;
    while ((name[count] = base_failpoint_name((size_t)count, NULL))) {
        cr_assert_lt(++count, NAMES_MAX);
    }
    return count;
}

Test(failpoint, names_are_unique_and_described)
{
    const char *name[NAMES_MAX], *when = NULL;
    int count = names(name);
    cr_assert_gt(count, 5);
    for (int i = 0; i < count; i++) {
        cr_assert_not_null(base_failpoint_name((size_t)i, &when));
        cr_assert_gt(strlen(when), 10);
        for (int j = 0; j < i; j++) {
            cr_assert_str_neq(name[i], name[j]);
        }
    }
}

Test(failpoint, what_can_be_armed)
{
    static const char *const wrong[] = {
        "nothing",
        "publish",
        "publish.sent:",
        "publish.sent:0",
        "publish.sent:-1",
        "publish.sent: 1",
        "publish.sent:2x",
        "publish.sent:1:go",
        "publish.sent:1:",
        "publish.sent:99999999999999999999",
        ":1",
    };
    struct base_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(base_failpoint_arm(wrong[i], &error), -1, "%s", wrong[i]);
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert_null(base_failpoint_armed);
    }
    const char *name[NAMES_MAX];
    int count = names(name);
    for (int i = 0; i < count; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s:7:stop", name[i]);
        cr_assert_eq(base_failpoint_arm(name[i], &error), 0);
        cr_assert_str_eq(base_failpoint_armed, name[i]);
        cr_assert_eq(base_failpoint_arm(text, &error), 0);
        cr_assert_str_eq(base_failpoint_armed, name[i]);
    }
    cr_assert_eq(base_failpoint_arm("", &error), 0);
    cr_assert_null(base_failpoint_armed);
    base_failpoint("publish.sent"); // nothing
    cr_assert_eq(base_failpoint_arm(NULL, &error), 0);
}

// Passes the point three times in a child that has it armed; its way, and what it wrote.
static int child(const char *arm, char said[static 128])
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct base_error error;
        dup2(ends[1], STDERR_FILENO);
        if (base_failpoint_arm(arm, &error)) {
            _exit(100);
        }
        for (int i = 0; i < 3; i++) {
            base_failpoint("publish.moved"); // another one
            base_failpoint("publish.sent");
        }
        _exit(0);
    }
    close(ends[1]);
    int status;
    cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
    if (WIFSTOPPED(status)) {
        cr_assert_eq(WSTOPSIG(status), SIGSTOP);
        kill(pid, SIGCONT);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it goes on after SIGCONT");
        status = -1;
    }
    ssize_t size = read(ends[0], said, 127);
    said[size > 0 ? size : 0] = '\0';
    close(ends[0]);
    return status;
}

Test(failpoint, the_nth_pass_kills_or_stops)
{
    char said[128];
    int status = child("publish.sent", said);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_assert_str_eq(said, "fail point publish.sent\n");
    status = child("publish.sent:3", said);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = child("publish.sent:4", said);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_str_eq(said, "");
    cr_assert_eq(child("publish.sent:2:stop", said), -1);
    cr_assert_str_eq(said, "fail point publish.sent\n");
}

// Every name in the code is of the table, and every name of the table is somewhere in the code.
Test(failpoint, the_table_is_the_code)
{
    static const char *const rooms[] = {"base", "consumer", "trainer", "publisher", "daemon"};
    static const char call[] = "base_failpoint(\"";
    const char *name[NAMES_MAX];
    int placed[NAMES_MAX] = {0};
    int count = names(name);
    for (size_t room = 0; room < sizeof rooms / sizeof *rooms; room++) {
        glob_t found;
        char pattern[512];
        snprintf(pattern, sizeof pattern, "%s/%s/*.c", FRESHET_SOURCE_DIR, rooms[room]);
        cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++) {
            FILE *file = fopen(found.gl_pathv[i], "r");
            cr_assert_not_null(file);
            char *line = NULL;
            size_t size = 0;
            while (getline(&line, &size, file) > 0) {
                const char *at = strstr(line, call);
                if (!at) {
                    continue;
                }
                at += sizeof call - 1;
                size_t length = strcspn(at, "\"");
                int n = 0;
                while (n < count && (strlen(name[n]) != length || memcmp(name[n], at, length) != 0)) {
                    n++;
                }
                cr_assert_lt(n, count, "%s: %.*s is not of the table", found.gl_pathv[i], (int)length, at);
                placed[n]++;
            }
            free(line);
            fclose(file);
        }
        globfree(&found);
    }
    for (int n = 0; n < count; n++) {
        cr_assert_gt(placed[n], 0, "%s is nowhere in the code", name[n]);
    }
}
