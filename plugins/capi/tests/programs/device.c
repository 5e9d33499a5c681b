/* Arrays that say where their memory is. */
#include "batch.h"

static const int32_t numbers[] = {1, 2, 3};
static const struct column column = {"n", "i", 0, 2, {NULL, numbers, NULL}, {0, sizeof numbers, 0}};

int main(void)
{
    struct ArrowSchema schema;
    make_schema(&schema, 1, &column);
    struct unlade_runtime *runtime;
    TRY(unlade_runtime_open(NULL, &runtime, &error));
    struct unlade_query *query;
    TRY(unlade_query_text(NULL, NULL, 0, &query, &error));
    struct unlade_kernel *kernel;
    TRY(unlade_kernel_compile(runtime, NULL, query, &schema, NULL, &kernel, &error));

    const struct {
        ArrowDeviceType type;
        void *event;
        enum unlade_code code;
    } cases[] = {
        {ARROW_DEVICE_CPU, NULL, UNLADE_OK},
        {ARROW_DEVICE_CUDA_HOST, NULL, UNLADE_OK},
        {ARROW_DEVICE_CUDA_HOST, &schema, UNLADE_UNSUPPORTED},
        {ARROW_DEVICE_CUDA, NULL, UNLADE_UNSUPPORTED},
        {ARROW_DEVICE_CUDA_MANAGED, NULL, UNLADE_UNSUPPORTED},
        {ARROW_DEVICE_EXT_DEV, NULL, UNLADE_UNSUPPORTED},
        {7, NULL, UNLADE_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int released = 0;
        struct ArrowDeviceArray in, out;
        memset(&in, 0, sizeof in);
        make_batch(&in.array, 3, 1, &column, &released);
        in.device_type = cases[i].type;
        in.sync_event = cases[i].event;
        const void *values = in.array.children[0]->buffers[1];
        struct unlade_output output = wanting(UNLADE_WANT_RECEIPT);
        struct unlade_error *error = NULL;
        EXPECT(unlade_kernel_run_device(kernel, &in, NULL, &out, &output, &error) == cases[i].code);
        EXPECT(in.array.release == NULL && output.array.release == NULL);
        EXPECT(out.device_type == ARROW_DEVICE_CPU && out.sync_event == NULL && out.device_id == -1);
        if (cases[i].code == UNLADE_OK) {
            EXPECT(out.array.children[0]->buffers[1] == values && output.receipt != NULL);
            EXPECT(released == 0);
            out.array.release(&out.array);
        } else {
            EXPECT(out.array.release == NULL && strlen(unlade_error_message(error)) > 20);
        }
        EXPECT(released == 1);
        unlade_output_release(&output);
        unlade_error_free(error);
    }
    EXPECT(unlade_kernel_run_device(kernel, NULL, NULL, NULL, NULL, NULL) == UNLADE_INVALID_ARGUMENT);
    unlade_kernel_free(kernel);
    unlade_query_free(query);
    unlade_runtime_free(runtime);
    schema.release(&schema);
    EXPECT(unlade_handle_count() == 0);
    printf("done\n");
    return 0;
}
