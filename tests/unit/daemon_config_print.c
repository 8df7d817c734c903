// Tests of the lines that tell a configuration's problems.
#include "daemon/config_print.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What is printed of the text's problems; the caller frees.
static char *printed(const char *text)
{
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    daemon_config_free(daemon_config_load_text("c.yaml", base_span_string(text), problems));
    char *lines = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&lines, &size);
    daemon_config_print(problems, out);
    fclose(out);
    free(problems);
    return lines;
}

Test(daemon_config_print, errors_and_warnings)
{
    char *lines =
        printed("source: {kind: files, path: x}\nslots: [{name: hour, path: categorical.hour}]\nwat: 1\n");
    cr_assert(strstr(lines, "error: c.yaml:3:1: unknown setting \"wat\"\n"), "%s", lines);
    cr_assert(strstr(lines, "warning: c.yaml:2:"), "%s", lines);
    cr_assert_null(strstr(lines, "more"));
    free(lines);
}

Test(daemon_config_print, nothing_of_what_is_right)
{
    char *lines = printed("source: {kind: files, path: x}\nslots: [{name: user_id}]\n");
    cr_assert_str_empty(lines);
    free(lines);
}

Test(daemon_config_print, more_problems_than_are_kept_are_counted)
{
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "source: {kind: files, path: x}\nslots: [");
    for (int i = 0; i < 100; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "{x: 1},");
    }
    snprintf(text + used, sizeof text - used, "]\n");
    char *lines = printed(text);
    cr_assert(strstr(lines, "\nand 136 more\n"), "%s", lines);
    free(lines);
}

Test(daemon_config_print, a_file_that_is_not_there_is_none)
{
    FILE *err = tmpfile();
    int saved = dup(2);
    dup2(fileno(err), 2);
    struct daemon_config *config = daemon_config_load_and_print("/nowhere/c.yaml");
    dup2(saved, 2);
    close(saved);
    char text[256] = "";
    rewind(err);
    cr_assert(fgets(text, sizeof text, err));
    fclose(err);
    cr_assert_null(config);
    cr_assert(strstr(text, "error: cannot open /nowhere/c.yaml") == text, "%s", text);
}
