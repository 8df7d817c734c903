// Registering a schema with a registry that speaks Confluent's REST API. See produce.h.
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/produce.h"

enum { ANSWER_MAX = 1 << 20, URL_MAX_BYTES = 2048 };

static size_t registry_receive(char *data, size_t size, size_t count, void *context)
{
    struct base_buffer *answer = context;
    if (answer->size + size * count > ANSWER_MAX) {
        return 0; // ends the transfer
    }
    base_buffer_append(answer, data, size * count);
    return size * count;
}

static int registry_post(const char *url, const char *body, int timeout_ms, struct base_buffer *answer,
                         long *status, struct base_error *error)
{
    CURL *curl = curl_easy_init();
    if (!curl) {
        return base_error_set(error, BASE_ENOMEM, "%s: libcurl does not start", url);
    }
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, registry_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) {
        return base_error_set(error, BASE_ENETWORK, "%s: %s", url, curl_easy_strerror(code));
    }
    return 0;
}

int64_t daemon_produce_register(const char *url, const char *subject, const char *schema, int timeout_ms,
                                struct base_error *error)
{
    char address[URL_MAX_BYTES];
    if (snprintf(address, sizeof address, "%s/subjects/%s/versions", url, subject) >= (int)sizeof address) {
        return base_error_set(error, BASE_EINVAL, "the registry's URL is too long");
    }
    struct base_buffer answer = {0};
    int64_t id = -1;
    long status = 0;
    json_t *request = json_pack("{s:s}", "schema", schema);
    char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_t *reply = NULL;
    if (!body) {
        base_error_set(error, BASE_EINVAL, "%s: the schema is not text", subject);
        goto out;
    }
    if (registry_post(address, body, timeout_ms, &answer, &status, error) < 0) {
        goto out;
    }
    reply = json_loadb((const char *)answer.data, answer.size, 0, NULL);
    json_t *number = json_object_get(reply, "id");
    if (status != 200 || !json_is_integer(number) || json_integer_value(number) < 0 ||
        json_integer_value(number) > INT32_MAX) {
        base_error_set(error, BASE_EREFUSED, "%s: status %ld: %.*s", address, status,
                       (int)(answer.size < 200 ? answer.size : 200), (const char *)answer.data);
        goto out;
    }
    id = json_integer_value(number);
out:
    json_decref(reply);
    json_decref(request);
    free(body);
    base_buffer_free(&answer);
    return id;
}
