// Schema resolution seen pair by pair, and the meaning of paths. See plan_match.h and plan.h.
#include "consumer/plan_match.h"

static bool match_short(const char *a, const char *b)
{
    return strcmp(consumer_schema_short_name(a), consumer_schema_short_name(b)) == 0;
}

static bool match_names(const struct consumer_schema_node *writer, const struct consumer_schema_node *reader)
{
    if (match_short(writer->name, reader->name)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->aliases.count; i++) {
        if (match_short(writer->name, reader->aliases.name[i])) {
            return true;
        }
    }
    return false;
}

bool plan_match_types(const struct consumer_schema_node *writer, const struct consumer_schema_node *reader)
{
    enum consumer_type from = writer->type, to = reader->type;
    if (from == CONSUMER_TYPE_UNION || to == CONSUMER_TYPE_UNION) {
        return true; // items: the branches decide, value by value
    }
    if (from == to && (from == CONSUMER_TYPE_ARRAY || from == CONSUMER_TYPE_MAP)) {
        return plan_match_types(writer->items, reader->items);
    }
    if (from == to) {
        return !writer->name ||
               (match_names(writer, reader) && (from != CONSUMER_TYPE_FIXED || writer->size == reader->size));
    }
    switch (from) {
    case CONSUMER_TYPE_INT:
        return to == CONSUMER_TYPE_LONG || to == CONSUMER_TYPE_FLOAT || to == CONSUMER_TYPE_DOUBLE;
    case CONSUMER_TYPE_LONG:
        return to == CONSUMER_TYPE_FLOAT || to == CONSUMER_TYPE_DOUBLE;
    case CONSUMER_TYPE_FLOAT:
        return to == CONSUMER_TYPE_DOUBLE;
    case CONSUMER_TYPE_STRING:
        return to == CONSUMER_TYPE_BYTES;
    case CONSUMER_TYPE_BYTES:
        return to == CONSUMER_TYPE_STRING;
    default:
        return false;
    }
}

const struct consumer_schema_node *plan_match_branch(const struct consumer_schema_node *writer,
                                                     const struct consumer_schema_node *reader)
{
    for (uint32_t i = 0; i < reader->count; i++) {
        const struct consumer_schema_node *branch = reader->branches[i];
        if (branch->type == writer->type && (!writer->name || strcmp(writer->name, branch->name) == 0) &&
            plan_match_types(writer, branch)) {
            return branch;
        }
    }
    for (uint32_t i = 0; i < reader->count; i++) {
        if (plan_match_types(writer, reader->branches[i])) {
            return reader->branches[i];
        }
    }
    return NULL;
}

// The writer's field `name`; fields mostly stand in the same place, so look there first.
static uint32_t match_field(const struct consumer_schema_node *writer, const char *name, uint32_t likely,
                            uint64_t *steps)
{
    if (likely < writer->count && strcmp(writer->fields[likely].name, name) == 0) {
        return likely;
    }
    for (uint32_t i = 0; i < writer->count && *steps <= PLAN_STEPS_MAX; i++) {
        ++*steps;
        if (strcmp(writer->fields[i].name, name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

void plan_match_fields(const struct consumer_schema_node *writer, const struct consumer_schema_node *reader,
                       uint32_t *fields, bool *taken, uint64_t *steps)
{
    memset(taken, 0, writer->count * sizeof *taken);
    for (uint32_t i = 0; i < reader->count; i++) {
        fields[i] = match_field(writer, reader->fields[i].name, i, steps);
        if (fields[i] != UINT32_MAX) {
            taken[fields[i]] = true;
        }
    }
    for (uint32_t i = 0; i < reader->count; i++) {
        const struct consumer_names *aliases = &reader->fields[i].aliases;
        for (uint32_t k = 0; fields[i] == UINT32_MAX && k < aliases->count; k++) {
            uint32_t found = match_field(writer, aliases->name[k], i, steps);
            if (found != UINT32_MAX && !taken[found]) {
                fields[i] = found;
                taken[found] = true;
            }
        }
    }
}

const char *plan_path_behind(const char *path, const char *name)
{
    size_t size = strlen(name);
    if (strncmp(path, name, size) != 0) {
        return NULL;
    }
    if (path[size] == '\0') {
        return path + size;
    }
    return path[size] == '.' && path[size + 1] != '\0' ? path + size + 1 : NULL;
}

static bool path_goes_deeper(const struct consumer_schema_node *node)
{
    if (node->type == CONSUMER_TYPE_UNION) {
        for (uint32_t i = 0; i < node->count; i++) {
            if (path_goes_deeper(node->branches[i])) {
                return true;
            }
        }
    }
    return node->type == CONSUMER_TYPE_RECORD || node->type == CONSUMER_TYPE_MAP;
}

size_t plan_path_key(const struct consumer_schema_node *values, const char *path)
{
    return path_goes_deeper(values) ? strcspn(path, ".") : strlen(path);
}

// ---- Do the paths lead somewhere, and do the types there serve? ----

enum path_answer {
    PATH_UNKNOWN,
    PATH_NULL, // known, but only null is there
    PATH_SERVES,
    PATH_CANNOT, // known, and its type does not serve
};

static enum path_answer path_scalar(enum consumer_type type, enum consumer_role role)
{
    static const bool serves[][CONSUMER_ROLES] = {
        //                       time   id     value  numeric categorical
        [CONSUMER_TYPE_BOOLEAN] = {false, false, true, true, true},
        [CONSUMER_TYPE_INT] = {true, true, true, true, true},
        [CONSUMER_TYPE_LONG] = {true, true, true, true, true},
        [CONSUMER_TYPE_FLOAT] = {false, false, true, true, false},
        [CONSUMER_TYPE_DOUBLE] = {false, false, true, true, false},
        [CONSUMER_TYPE_BYTES] = {false, true, false, false, true},
        [CONSUMER_TYPE_STRING] = {false, true, false, false, true},
        [CONSUMER_TYPE_FIXED] = {false, true, false, false, true},
        [CONSUMER_TYPE_ENUM] = {false, true, false, false, true},
    };
    return serves[type][role] ? PATH_SERVES : PATH_CANNOT;
}

static enum path_answer path_ask(const struct consumer_schema_node *node, const char *path,
                                 enum consumer_role role, const struct consumer_schema_node **at)
{
    enum path_answer best = PATH_UNKNOWN;
    switch (node->type) {
    case CONSUMER_TYPE_UNION:
        for (uint32_t i = 0; i < node->count; i++) {
            enum path_answer answer = path_ask(node->branches[i], path, role, at);
            best = answer > best ? answer : best;
        }
        return best;
    case CONSUMER_TYPE_RECORD:
        for (uint32_t i = 0; i < node->count; i++) {
            const char *behind = plan_path_behind(path, node->fields[i].name);
            if (behind) {
                return path_ask(node->fields[i].type, behind, role, at);
            }
        }
        break;
    case CONSUMER_TYPE_MAP:
        if (*path != '\0') {
            size_t key = plan_path_key(node->items, path);
            return path_ask(node->items, plan_path_rest(path, key), role, at);
        }
        break;
    case CONSUMER_TYPE_ARRAY:
        if (*path == '\0' && role == CONSUMER_ROLE_CATEGORICAL) {
            return path_ask(node->items, path, role, at);
        }
        break;
    case CONSUMER_TYPE_NULL:
        return *path == '\0' ? PATH_NULL : PATH_UNKNOWN;
    default:
        break;
    }
    if (*path != '\0') {
        return PATH_UNKNOWN;
    }
    best = PATH_CANNOT;
    if (node->type != CONSUMER_TYPE_RECORD && node->type != CONSUMER_TYPE_MAP &&
        node->type != CONSUMER_TYPE_ARRAY) {
        best = path_scalar(node->type, role);
    }
    if (best == PATH_CANNOT) {
        *at = node;
    }
    return best;
}

int consumer_plan_check(const struct consumer_schema *reader, const struct consumer_target *targets,
                        uint32_t count, struct base_error *error)
{
    static const char *const roles[CONSUMER_ROLES] = {
        "an event time", "an id or touch field", "a value", "a numeric column", "a categorical column",
    };
    const struct consumer_schema_node *root = consumer_schema_root(reader);
    for (uint32_t i = 0; i < count; i++) {
        const struct consumer_target *target = &targets[i];
        const struct consumer_schema_node *at = root;
        switch (path_ask(root, target->path, target->role, &at)) {
        case PATH_UNKNOWN:
            return base_error_set(error, BASE_EINVAL, "path \"%.100s\": not in the schema of %.200s",
                                  target->path, consumer_schema_type_name(root));
        case PATH_NULL:
            return base_error_set(error, BASE_EINVAL, "path \"%.100s\": null alone cannot serve as %s",
                                  target->path, roles[target->role]);
        case PATH_CANNOT:
            return base_error_set(error, BASE_EINVAL, "path \"%.100s\": %.100s cannot serve as %s",
                                  target->path, consumer_schema_type_name(at), roles[target->role]);
        case PATH_SERVES:
            break;
        }
    }
    return 0;
}
