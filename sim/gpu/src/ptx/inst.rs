//! Decoded instructions: every name is an index, every constant a row of its own.

#![expect(
    dead_code,
    reason = "orders and scopes are decoded; the memory model that heeds them comes next"
)]

use super::types::{Type, Width};

/// A register, or a constant or special register in the same numbering: a row of 32 lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reg(pub(crate) u32);

/// A predicate register or a constant predicate: a bit for each of 32 lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pred(pub(crate) u32);

/// A predicate, perhaps negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) pred: Pred,
    pub(crate) negated: bool,
}

/// An instruction and the line it stands on.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub(crate) guard: Option<Guard>,
    pub(crate) op: Op,
    pub(crate) line: u32,
}

/// What an instruction does. `d` is where the result goes, `a`, `b` and `c` are the sources.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Integer {
        op: IntegerOp,
        ty: Int,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    /// `mul.wide`, and `mad.wide` where there is a `c`.
    MultiplyWide {
        ty: Int,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Option<Reg>,
    },
    /// `mad.lo` and `mad.hi`.
    MultiplyAdd {
        ty: Int,
        high: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    /// `add.cc`, `addc`, `sub.cc`, `subc`.
    Carry {
        subtract: bool,
        reads: bool,
        writes: bool,
        width: Width,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Unary {
        op: UnaryOp,
        ty: Int,
        d: Reg,
        a: Reg,
    },
    /// `bfe`: `b` is the first bit, `c` how many.
    FieldExtract {
        ty: Int,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    /// `bfi`: `a` goes into `b`, at bit `at`, `length` bits.
    FieldInsert {
        width: Width,
        d: Reg,
        a: Reg,
        b: Reg,
        at: Reg,
        length: Reg,
    },
    /// `prmt` without a mode.
    Permute {
        d: Reg,
        a: Reg,
        b: Reg,
        selector: Reg,
    },
    /// `lop3`.
    Logic3 {
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
        table: u8,
    },
    /// `shf`: a shift of two words by one.
    Funnel {
        left: bool,
        wrap: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        by: Reg,
    },

    Float {
        op: FloatOp,
        double: bool,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    /// `fma.rn`.
    FusedMultiplyAdd {
        double: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    FloatUnary {
        op: FloatUnaryOp,
        double: bool,
        d: Reg,
        a: Reg,
    },

    /// `setp`: `p` gets the result, `q` its opposite; both after `combine`.
    Compare {
        cmp: Cmp,
        ty: Type,
        combine: Option<(Logic, Guard)>,
        p: Option<Pred>,
        q: Option<Pred>,
        a: Reg,
        b: Reg,
    },
    Select {
        d: Reg,
        a: Reg,
        b: Reg,
        p: Pred,
    },
    /// `and`, `or`, `xor`, `not`, `mov` of predicates.
    Predicate {
        logic: Logic,
        d: Pred,
        a: Guard,
        b: Guard,
    },

    Move {
        d: Reg,
        a: Reg,
    },
    /// `mov` of parts into a whole, the first part lowest.
    Pack {
        d: Reg,
        parts: Box<[Reg]>,
        part: Width,
    },
    /// `mov` of a whole into parts; the sink `_` is none.
    Unpack {
        parts: Box<[Option<Reg>]>,
        part: Width,
        a: Reg,
    },
    Convert(Convert),

    LoadParam {
        to: Box<[Loaded]>,
        element: Width,
        offset: u32,
    },
    Load(Box<Load>),
    Store(Box<Store>),
    Atomic(Box<Atomic>),
    Fence {
        scope: Scope,
    },

    Vote {
        vote: Vote,
        d: VoteTarget,
        a: Guard,
        mask: Reg,
    },
    Shuffle {
        mode: Shuffle,
        d: Reg,
        p: Option<Pred>,
        a: Reg,
        b: Reg,
        c: Reg,
        mask: Reg,
    },
    WarpBarrier {
        mask: Reg,
    },
    ActiveMask {
        d: Reg,
    },
    /// `bar.sync`, `barrier.sync`; without `threads` all of the block.
    Barrier {
        id: Reg,
        threads: Option<Reg>,
        aligned: bool,
    },

    Branch {
        target: u32,
        uniform: bool,
    },
    Exit,
    Trap,
    /// Changes nothing.
    Prefetch,
    /// Lets others run: `nanosleep`.
    Yield,
}

/// An integer type of 16, 32 or 64 bits; `.b` types are unsigned here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int {
    pub(crate) width: Width,
    pub(crate) signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntegerOp {
    Add,
    Sub,
    MulLo,
    MulHi,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Neg,
    Abs,
    Not,
    Popc,
    Clz,
    Brev,
    Bfind,
    BfindShift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatOp {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    CopySign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatUnaryOp {
    Neg,
    Abs,
    Sqrt,
    Reciprocal,
}

/// Comparisons; those with `u` are true of a NaN (PTX ISA 9.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// `cvt`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convert {
    pub(crate) to: Type,
    pub(crate) from: Type,
    pub(crate) rounding: Rounding,
    pub(crate) saturate: bool,
    pub(crate) d: Reg,
    /// Of the register, which may be wider than `to`.
    pub(crate) d_width: Width,
    pub(crate) a: Reg,
}

/// How a `cvt` rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Nothing is to be rounded.
    None,
    /// `.rn`, to the nearest value, ties to even; of a float type.
    Nearest,
    /// `.rni`, to the nearest integer, ties to even.
    NearestInteger,
    /// `.rzi`.
    TowardsZero,
    /// `.rmi`.
    Down,
    /// `.rpi`.
    Up,
}

/// Where an element that was loaded goes: a register at least as wide as the element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) d: Reg,
    /// Bits of the sign are spread to the width of the register.
    pub(crate) signed: bool,
    pub(crate) width: Width,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Global,
    Shared,
}

/// How far away a memory operation is ordered and seen (PTX ISA 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Block,
    /// `.gpu` and `.sys`: nothing but the one GPU is simulated.
    Device,
}

/// What an operation orders (PTX ISA 8.3 and 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Weak,
    /// `.relaxed` and `.volatile`.
    Relaxed,
    Acquire,
    Release,
    AcquireRelease,
}

impl Order {
    pub(crate) fn acquires(self) -> bool {
        matches!(self, Order::Acquire | Order::AcquireRelease)
    }

    pub(crate) fn releases(self) -> bool {
        matches!(self, Order::Release | Order::AcquireRelease)
    }
}

/// An address: what the row holds and a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) space: Space,
    pub(crate) base: Reg,
    pub(crate) offset: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: Address,
    pub(crate) order: Order,
    pub(crate) scope: Scope,
    pub(crate) element: Width,
    /// One for each element of the vector.
    pub(crate) to: Box<[Loaded]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) address: Address,
    pub(crate) order: Order,
    pub(crate) scope: Scope,
    pub(crate) element: Width,
    pub(crate) from: Box<[Reg]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Atomic {
    pub(crate) address: Address,
    pub(crate) order: Order,
    pub(crate) scope: Scope,
    pub(crate) op: AtomicOp,
    pub(crate) ty: Type,
    /// None for `red`.
    pub(crate) d: Option<Reg>,
    pub(crate) a: Reg,
    /// The new value of `cas`, whose `a` is the old one.
    pub(crate) b: Option<Reg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    Ballot,
    Any,
    All,
    Uniform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteTarget {
    Mask(Reg),
    Predicate(Pred),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// A register that the hardware fills (PTX ISA 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    ThreadX,
    ThreadY,
    ThreadZ,
    BlockSizeX,
    BlockSizeY,
    BlockSizeZ,
    BlockX,
    BlockY,
    BlockZ,
    GridX,
    GridY,
    GridZ,
    Lane,
    Warp,
    MaskEq,
    MaskLt,
    MaskLe,
    MaskGt,
    MaskGe,
}
