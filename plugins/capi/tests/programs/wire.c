/* Queries as bytes: they come back as they were, and bytes that are truncated or mutated are errors.
 * The words are a seed and how many cases. */
#include "batch.h"

static uint64_t state;

static uint64_t below(uint64_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state * 0x2545F4914F6CDD1Du >> 33) % bound;
}

/* A query of more than is written, of which a list in text may still be: that it is too much, whether it
 * would find room or not. */
static void is_too_much(void)
{
    enum { LISTS = 5, MEMBERS = 60000 };
    static char text[LISTS * (MEMBERS * 2 + 16)];
    char *at = text;
    for (int list = 0; list < LISTS; list++) {
        at += sprintf(at, list == 0 ? "n in (1" : " or n in (1");
        for (int member = 1; member < MEMBERS; member++)
            at += sprintf(at, ",%d", member % 10);
        at += sprintf(at, ")");
    }
    struct unlade_query *query;
    TRY(unlade_query_text(text, NULL, 0, &query, &error));
    size_t length;
    struct unlade_error *error;
    EXPECT(unlade_query_encode(query, NULL, 0, &length, &error) == UNLADE_LIMIT);
    EXPECT(length == 0 && strstr(unlade_error_message(error), "split the query") != NULL);
    unlade_error_free(error);
    unlade_query_free(query);
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    is_too_much();
    state = strtoull(words[1], NULL, 10) * 0x9E3779B97F4A7C15u + 1;
    long cases = strtol(words[2], NULL, 10);

    struct unlade_query *query;
    TRY(unlade_query_text("n between 2 and 6 or n in (11, 12)", "n, cast(n as bigint) * 2 as twice", 0,
                          &query, &error));
    size_t length;
    EXPECT(unlade_query_encode(query, NULL, 0, &length, NULL) == UNLADE_LIMIT && length > 40);
    EXPECT(unlade_query_encode(query, NULL, 9, &length, NULL) == UNLADE_INVALID_ARGUMENT);
    EXPECT(unlade_query_encode(query, NULL, 0, &length, NULL) == UNLADE_LIMIT);
    size_t size = length;
    unsigned char *bytes = (unsigned char *)must_have(malloc(size));
    EXPECT(unlade_query_encode(query, bytes, size - 1, &length, NULL) == UNLADE_LIMIT);
    TRY(unlade_query_encode(query, bytes, size, &length, &error));
    EXPECT(length == size);
    struct unlade_query *again;
    TRY(unlade_query_wire(bytes, size, &again, &error));
    unsigned char *same = (unsigned char *)must_have(malloc(size));
    TRY(unlade_query_encode(again, same, size, &length, &error));
    EXPECT(length == size && memcmp(bytes, same, size) == 0);
    unlade_query_free(again);
    free(same);

    EXPECT(unlade_query_wire(NULL, 3, &again, NULL) == UNLADE_INVALID_ARGUMENT && again == NULL);
    EXPECT(unlade_query_wire(bytes, SIZE_MAX, &again, NULL) == UNLADE_LIMIT);
    for (long at = 0; at < cases; at++) {
        /* In memory of its own size, so that nothing beyond it is read unseen. */
        size_t shorter = at % 2 == 0 ? size : below(size);
        unsigned char *wrong = (unsigned char *)copy_of(bytes, shorter);
        if (shorter == size)
            wrong[below(size)] ^= 1 << below(8);
        struct unlade_error *error = NULL;
        enum unlade_code code = unlade_query_wire(wrong, shorter, &again, &error);
        /* A length beyond what is read is one, too. */
        if (code != UNLADE_MALFORMED && code != UNLADE_LIMIT) {
            fprintf(stderr, "seed %s, case %ld: %s\n", words[1], at, unlade_code_name(code));
            return 1;
        }
        unlade_error_free(error);
        free(wrong);
    }
    free(bytes);
    unlade_query_free(query);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
