// A Velox vector function, `cast(A as bigint) > 1`, that Unlade computes.
//
// It was compiled and run against the stand-in in velox_stand_in, which has the names and the layout
// of Velox's flat vectors, and never against Velox itself.
//
// The column goes in, and the answer comes out, on the memory where they are. What Unlade cannot do
// the engine's own evaluator does, on the same vectors, of which nothing was touched: where no device
// that may run the query can (when the function is made), and where a batch has no result from one
// that failed. To see that, name a card that lacks division: `unlade card --profile small --socket PATH`
// serves one.
//
//     g++ -std=c++17 -Ivelox_stand_in velox_function.cpp $(pkg-config --cflags --libs unlade) -o velox
//     ./velox [dpu:unix:PATH]
#include "velox/expression/VectorFunction.h"

#include "batch.h"

#include <memory>

using namespace facebook::velox;

namespace {

// The engine's own way to compute the same.
class OwnFunction : public exec::VectorFunction {
public:
    void apply(const SelectivityVector &rows, std::vector<VectorPtr> &args, const TypePtr &outputType,
               exec::EvalCtx &context, VectorPtr &result) const override
    {
        auto *numbers = args[0]->asUnchecked<FlatVector<int32_t>>();
        seen = numbers->rawValues();
        auto words = bits::nwords(rows.end());
        auto values = AlignedBuffer::allocate<uint64_t>(words, context.pool());
        auto nulls = AlignedBuffer::allocate<uint64_t>(words, context.pool());
        rows.applyToSelected([&](vector_size_t row) {
            bits::setBit(nulls->asMutable<uint64_t>(), row, !numbers->isNullAt(row));
            bits::setBit(values->asMutable<uint64_t>(), row,
                         static_cast<int64_t>(numbers->rawValues()[row]) > 1);
        });
        VectorPtr local = std::make_shared<FlatVector<bool>>(
            context.pool(), outputType, nulls, rows.end(), values, std::vector<BufferPtr>{});
        context.moveOrCopyResult(local, rows, result);
    }

    // What it read last, for the example to look at.
    mutable const void *seen = nullptr;
};

// A result of Unlade's that vectors have views of: it is released with the last of them.
class Releaser {
public:
    explicit Releaser(std::shared_ptr<ArrowArray> array = nullptr) : array_(std::move(array)) {}
    void addRef() const {}
    void release() const {}

private:
    std::shared_ptr<ArrowArray> array_;
};

class UnladeFunction : public exec::VectorFunction {
public:
    // `select` is over a column `a` of INTEGER.
    UnladeFunction(unlade_runtime *runtime, const char *select,
                   std::shared_ptr<exec::VectorFunction> own)
        : own_(std::move(own))
    {
        column column = {"a", "i", 0, 2, {nullptr, nullptr, nullptr}, {0, 0, 0}};
        ArrowSchema schema;
        make_schema(&schema, 1, &column);
        unlade_query *query = nullptr;
        TRY(unlade_query_text(nullptr, select, 0, &query, &error));
        unlade_kernel_options options = {};
        options.struct_size = sizeof options;
        // Vectors are of the engine's own making.
        options.check = UNLADE_CHECK_SHAPE;
        unlade_error *why = nullptr;
        unlade_code code =
            unlade_kernel_compile(runtime, nullptr, query, &schema, &options, &kernel_, &why);
        if (code == UNLADE_UNSUPPORTED)
            why_not_ = unlade_error_message(why);
        else if (code != UNLADE_OK)
            throw std::runtime_error(unlade_error_message(why));
        unlade_error_free(why);
        unlade_query_free(query);
        schema.release(&schema);
    }

    ~UnladeFunction() override { unlade_kernel_free(kernel_); }

    // Why the engine computes it itself; empty where it does not.
    const std::string &why_not() const { return why_not_; }

    void apply(const SelectivityVector &rows, std::vector<VectorPtr> &args, const TypePtr &outputType,
               exec::EvalCtx &context, VectorPtr &result) const override
    {
        // Where rows are left out, nothing may fail that only they would fail of; this query cannot.
        auto *numbers = args[0]->as<FlatVector<int32_t>>();
        if (kernel_ == nullptr || numbers == nullptr)
            return own_->apply(rows, args, outputType, context, result);

        Input input(args[0], numbers, rows.end());
        unlade_output output = wanting(0);
        unlade_error *error = nullptr;
        unlade_code code = unlade_kernel_run(kernel_, &input.batch, nullptr, &output, &error);
        if (code == UNLADE_DEVICE_FAULT || code == UNLADE_EXHAUSTED) {
            unlade_error_free(error);
            return own_->apply(rows, args, outputType, context, result);
        }
        if (code != UNLADE_OK) {
            std::string message = unlade_error_message(error);
            unlade_error_free(error);
            throw std::runtime_error(message);
        }

        std::shared_ptr<ArrowArray> array(new ArrowArray(output.array), [](ArrowArray *array) {
            array->release(array);
            delete array;
        });
        const ArrowArray *answer = array->children[0];
        EXPECT(answer->offset == 0);
        auto view = [&](const void *bytes) -> BufferPtr {
            if (bytes == nullptr)
                return nullptr;
            size_t size = (static_cast<size_t>(rows.end()) + 7) / 8;
            return BufferView<Releaser>::create(static_cast<const uint8_t *>(bytes), size,
                                                Releaser(array));
        };
        VectorPtr local = std::make_shared<FlatVector<bool>>(
            context.pool(), outputType, view(answer->buffers[0]), rows.end(),
            view(answer->buffers[1]), std::vector<BufferPtr>{});
        context.moveOrCopyResult(local, rows, result);
    }

private:
    // A vector as a batch, on its own memory: what is released is a hold on the vector.
    struct Input {
        struct Held {
            VectorPtr vector;
            const void *buffers[2];
            const void *no_nulls[1] = {nullptr};
            ArrowArray column = {};
            ArrowArray *children[1];
        };

        Input(const VectorPtr &vector, const FlatVector<int32_t> *numbers, vector_size_t rows)
        {
            auto *held = new Held;
            held->vector = vector;
            held->buffers[0] = numbers->rawNulls();
            held->buffers[1] = numbers->rawValues();
            held->column.length = rows;
            held->column.null_count = -1;
            held->column.n_buffers = 2;
            held->column.buffers = held->buffers;
            held->column.release = [](ArrowArray *array) { array->release = nullptr; };
            held->children[0] = &held->column;
            batch.length = rows;
            batch.n_buffers = 1;
            batch.buffers = held->no_nulls;
            batch.n_children = 1;
            batch.children = held->children;
            batch.private_data = held;
            batch.release = [](ArrowArray *array) {
                delete static_cast<Held *>(array->private_data);
                array->release = nullptr;
            };
        }

        ArrowArray batch = {};
    };

    std::shared_ptr<exec::VectorFunction> own_;
    unlade_kernel *kernel_ = nullptr;
    std::string why_not_;
};

// A runtime whose queries run on one device, and nowhere else.
unlade_runtime *runtime_on(const char *device)
{
    unlade_runtime_options options = {};
    options.struct_size = sizeof options;
    options.devices = device;
    options.placement = device;
    options.flags = UNLADE_NO_FALLBACK;
    unlade_runtime *runtime = nullptr;
    TRY(unlade_runtime_open(&options, &runtime, &error));
    return runtime;
}

VectorPtr numbers_in(memory::MemoryPool *pool, vector_size_t rows)
{
    auto values = AlignedBuffer::allocate<int32_t>(rows, pool);
    auto nulls = AlignedBuffer::allocate<uint64_t>(bits::nwords(rows), pool, ~uint64_t{0});
    for (vector_size_t row = 0; row < rows; row++) {
        values->asMutable<int32_t>()[row] = row % 5 - 1;
        bits::setBit(nulls->asMutable<uint64_t>(), row, row % 7 != 0);
    }
    return std::make_shared<FlatVector<int32_t>>(pool, INTEGER(), nulls, rows, values,
                                                 std::vector<BufferPtr>{});
}

void must_be_equal(const VectorPtr &one, const VectorPtr &other)
{
    EXPECT(one->size() == other->size());
    for (vector_size_t row = 0; row < one->size(); row++) {
        EXPECT(one->isNullAt(row) == other->isNullAt(row));
        if (!one->isNullAt(row))
            EXPECT(one->as<FlatVector<bool>>()->valueAt(row) ==
                   other->as<FlatVector<bool>>()->valueAt(row));
    }
}

} // namespace

int main(int count, char **words)
{
    const vector_size_t ROWS = 10000;
    memory::MemoryPool pool;
    exec::EvalCtx context(&pool);
    SelectivityVector rows(ROWS);
    std::vector<VectorPtr> args = {numbers_in(&pool, ROWS)};
    const void *values = args[0]->as<FlatVector<int32_t>>()->rawValues();
    auto own = std::make_shared<OwnFunction>();
    VectorPtr wanted;
    exec::Expr(BOOLEAN(), own).applyFunction(rows, args, context, wanted);

    // Unlade computes it.
    unlade_runtime *runtime = runtime_on("cpu");
    {
        own->seen = nullptr;
        auto function =
            std::make_shared<UnladeFunction>(runtime, "cast(a as bigint) > 1 as r", own);
        EXPECT(function->why_not().empty());
        VectorPtr result;
        exec::Expr(BOOLEAN(), function).applyFunction(rows, args, context, result);
        EXPECT(own->seen == nullptr);
        must_be_equal(result, wanted);
        // It has no hold on the column any more, and the result outlives the function.
        EXPECT(args[0].use_count() == 1);
        function.reset();
        must_be_equal(result, wanted);
        printf("%d rows by Unlade\n", result->size());
    }
    unlade_runtime_free(runtime);

    if (count < 2)
        return 0;
    // A device that lacks what the query asks for: the engine computes it, on the very same memory.
    runtime = runtime_on(words[1]);
    {
        auto function = std::make_shared<UnladeFunction>(
            runtime, "cast(a as bigint) * 2 / 2 > 1 as r", own);
        EXPECT(!function->why_not().empty());
        VectorPtr result;
        exec::Expr(BOOLEAN(), function).applyFunction(rows, args, context, result);
        EXPECT(own->seen == values);
        EXPECT(args[0]->as<FlatVector<int32_t>>()->rawValues() == values);
        must_be_equal(result, wanted);
        printf("%d rows by the engine: %s\n", result->size(), function->why_not().c_str());
    }
    unlade_runtime_free(runtime);
    return 0;
}
