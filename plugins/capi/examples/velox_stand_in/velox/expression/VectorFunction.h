// A stand-in for as much of Velox as the example needs: vectors that are flat, and functions over
// them, with the names and the layout that Velox has. It is here so that the example is compiled and
// run where there is no Velox.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace facebook::velox {

using vector_size_t = int32_t;

namespace bits {
inline bool isBitSet(const uint64_t *bits, int32_t at) { return bits[at / 64] >> (at % 64) & 1; }
inline void setBit(uint64_t *bits, int32_t at, bool value)
{
    uint64_t mask = uint64_t{1} << (at % 64);
    bits[at / 64] = value ? bits[at / 64] | mask : bits[at / 64] & ~mask;
}
inline uint64_t nwords(int32_t bits) { return (static_cast<uint64_t>(bits) + 63) / 64; }
} // namespace bits

enum class TypeKind { BOOLEAN, INTEGER, BIGINT };

struct Type {
    TypeKind kind;
};
using TypePtr = std::shared_ptr<const Type>;
inline TypePtr BOOLEAN() { return std::make_shared<const Type>(Type{TypeKind::BOOLEAN}); }
inline TypePtr INTEGER() { return std::make_shared<const Type>(Type{TypeKind::INTEGER}); }

namespace memory {
class MemoryPool {};
} // namespace memory

// Memory that is shared by counting: its own, or a view of somebody else's.
class Buffer {
public:
    virtual ~Buffer() = default;
    template <typename T> const T *as() const { return reinterpret_cast<const T *>(data_); }
    template <typename T> T *asMutable() { return reinterpret_cast<T *>(data_); }
    size_t size() const { return size_; }

protected:
    uint8_t *data_ = nullptr;
    size_t size_ = 0;
};
using BufferPtr = std::shared_ptr<Buffer>;

class AlignedBuffer : public Buffer {
public:
    template <typename T>
    static BufferPtr allocate(size_t elements, memory::MemoryPool *, T initial = T())
    {
        auto buffer = std::make_shared<AlignedBuffer>();
        buffer->words_.assign((elements * sizeof(T) + 7) / 8, 0);
        buffer->data_ = reinterpret_cast<uint8_t *>(buffer->words_.data());
        buffer->size_ = elements * sizeof(T);
        for (size_t i = 0; i < elements; i++)
            buffer->asMutable<T>()[i] = initial;
        return buffer;
    }

private:
    std::vector<uint64_t> words_;
};

template <typename Releaser> class BufferView : public Buffer {
public:
    static BufferPtr create(const uint8_t *data, size_t size, Releaser releaser)
    {
        auto buffer = std::make_shared<BufferView>();
        buffer->data_ = const_cast<uint8_t *>(data);
        buffer->size_ = size;
        buffer->releaser_ = std::move(releaser);
        buffer->releaser_.addRef();
        return buffer;
    }
    ~BufferView() override { releaser_.release(); }

private:
    Releaser releaser_;
};

class BaseVector {
public:
    BaseVector(TypePtr type, BufferPtr nulls, vector_size_t length)
        : type_(std::move(type)), nulls_(std::move(nulls)), length_(length)
    {
    }
    virtual ~BaseVector() = default;
    const TypePtr &type() const { return type_; }
    vector_size_t size() const { return length_; }
    // A bit that is set is a value that is there, as in Arrow.
    const uint64_t *rawNulls() const { return nulls_ ? nulls_->as<uint64_t>() : nullptr; }
    bool isNullAt(vector_size_t row) const
    {
        return nulls_ && !bits::isBitSet(rawNulls(), row);
    }
    template <typename T> T *asUnchecked() { return static_cast<T *>(this); }
    template <typename T> T *as() { return dynamic_cast<T *>(this); }

protected:
    TypePtr type_;
    BufferPtr nulls_;
    vector_size_t length_;
};
using VectorPtr = std::shared_ptr<BaseVector>;

template <typename T> class FlatVector : public BaseVector {
public:
    FlatVector(memory::MemoryPool *, TypePtr type, BufferPtr nulls, vector_size_t length,
               BufferPtr values, std::vector<BufferPtr> &&)
        : BaseVector(std::move(type), std::move(nulls), length), values_(std::move(values))
    {
    }
    const T *rawValues() const { return values_->as<T>(); }
    T valueAt(vector_size_t row) const
    {
        if constexpr (std::is_same_v<T, bool>)
            return bits::isBitSet(values_->as<uint64_t>(), row);
        else
            return rawValues()[row];
    }
    const BufferPtr &values() const { return values_; }

private:
    BufferPtr values_;
};

class SelectivityVector {
public:
    explicit SelectivityVector(vector_size_t size) : bits_(bits::nwords(size), ~uint64_t{0}), size_(size) {}
    void setValid(vector_size_t row, bool valid) { bits::setBit(bits_.data(), row, valid); }
    vector_size_t end() const { return size_; }
    template <typename Row> void applyToSelected(Row row) const
    {
        for (vector_size_t at = 0; at < size_; at++)
            if (bits::isBitSet(bits_.data(), at))
                row(at);
    }

private:
    std::vector<uint64_t> bits_;
    vector_size_t size_;
};

namespace exec {

class EvalCtx {
public:
    explicit EvalCtx(memory::MemoryPool *pool) : pool_(pool) {}
    memory::MemoryPool *pool() const { return pool_; }
    // Velox keeps what was in `result` on rows that are not selected; the example's have nothing.
    void moveOrCopyResult(const VectorPtr &local, const SelectivityVector &, VectorPtr &result) const
    {
        result = local;
    }

private:
    memory::MemoryPool *pool_;
};

class VectorFunction {
public:
    virtual ~VectorFunction() = default;
    virtual void apply(const SelectivityVector &rows, std::vector<VectorPtr> &args,
                       const TypePtr &outputType, EvalCtx &context, VectorPtr &result) const = 0;
};

// What Velox's Expr does once the arguments are there.
class Expr {
public:
    Expr(TypePtr type, std::shared_ptr<VectorFunction> function)
        : type_(std::move(type)), vectorFunction_(std::move(function))
    {
    }
    void applyFunction(const SelectivityVector &rows, std::vector<VectorPtr> &inputValues,
                       EvalCtx &context, VectorPtr &result) const
    {
        vectorFunction_->apply(rows, inputValues, type_, context, result);
    }

private:
    TypePtr type_;
    std::shared_ptr<VectorFunction> vectorFunction_;
};

} // namespace exec
} // namespace facebook::velox
