// What all commands have in common: --help, and what they say to a wrong option.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon_support.h"

static struct support_outcome *run_one(const struct daemon_command_row *command, const char *argument)
{
    return support_command(command->run, command->name, (const char *const[]){argument, NULL});
}

// "usage: freshet NAME" begins the text.
static bool is_usage(const struct daemon_command_row *command, const char *text)
{
    char head[64];
    int size = snprintf(head, sizeof head, "usage: freshet %s", command->name);
    return strncmp(text, head, (size_t)size) == 0;
}

Test(command, each_answers_help_on_standard_output)
{
    static const char *const words[] = {"--help", "-h"};
    cr_assert_geq(daemon_commands_count, 7);
    for (size_t i = 0; i < daemon_commands_count * 2; i++) {
        const struct daemon_command_row *command = &daemon_commands[i / 2];
        struct support_outcome *outcome = run_one(command, words[i % 2]);
        cr_expect_eq(outcome->status, 0, "%s", command->name);
        cr_expect(is_usage(command, outcome->out), "%s: %s", command->name, outcome->out);
        cr_expect_str_empty(outcome->err, "%s", command->name);
        free(outcome);
    }
}

Test(command, each_refuses_a_wrong_option_on_standard_error)
{
    static const char *const words[] = {"--no-such-option", "-Q"};
    for (size_t i = 0; i < daemon_commands_count * 2; i++) {
        const struct daemon_command_row *command = &daemon_commands[i / 2];
        struct support_outcome *outcome = run_one(command, words[i % 2]);
        cr_expect_eq(outcome->status, 2, "%s", command->name);
        cr_expect_str_empty(outcome->out, "%s", command->name);
        const char *usage = strstr(outcome->err, "usage: ");
        cr_expect(usage && is_usage(command, usage), "%s: %s", command->name, outcome->err);
        free(outcome);
    }
}

Test(command, replay_does_not_publish_what_it_ran_past_the_end)
{
    struct support_outcome *outcome = support_command(
        daemon_command_replay, "replay", (const char *const[]){"-c", "x", "--finish", "--publish", NULL});
    cr_assert_eq(outcome->status, 2);
    cr_assert(strstr(outcome->err, "leave out --finish or --publish"), "%s", outcome->err);
    cr_assert_str_empty(outcome->out);
    free(outcome);
}
