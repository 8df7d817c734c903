// The default schemas as texts, so that the programs do not need schemas/*.avsc. Equal to them byte for byte.
#ifndef CONSUMER_SCHEMAS_H
#define CONSUMER_SCHEMAS_H

extern const char consumer_schemas_impression[];
extern const char consumer_schemas_click[];
extern const char consumer_schemas_purchase[];
extern const char consumer_schemas_action[];
extern const char consumer_schemas_sample[];
extern const char consumer_schemas_deadletter[];

#endif
