//! The mutants: each a mistake that is easy to make, and the test that must notice it.
//!
//! A mutant names the text that it replaces as it stands in the file, so that the run fails, and
//! says where, when the code has moved on and the table has not.

use std::fmt;

/// One mistake planted in one file.
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// From the workspace's root.
    pub(crate) file: &'static str,
    /// Text that occurs in the file exactly once.
    pub(crate) original: &'static str,
    pub(crate) planted: &'static str,
    /// The test that fails with it.
    pub(crate) killer: Killer,
    /// What a CPU must have to execute the place.
    pub(crate) needs: Needs,
}

/// One test of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Killer {
    /// The package's folder.
    pub(crate) package: &'static str,
    /// The file in its folder `tests`, or `None` for the tests in the library itself.
    pub(crate) file: Option<&'static str>,
    /// The test's whole name.
    pub(crate) test: &'static str,
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = match self.file {
            None => "src",
            Some(_) => "tests",
        };
        write!(f, "{}/{folder}", self.package)?;
        if let Some(file) = self.file {
            write!(f, "/{file}")?;
        }
        write!(f, " {}", self.test)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    AnyCpu,
    Avx2,
    Avx512,
}

const fn library(package: &'static str, test: &'static str) -> Killer {
    Killer {
        package,
        file: None,
        test,
    }
}

const fn integration(package: &'static str, file: &'static str, test: &'static str) -> Killer {
    Killer {
        package,
        file: Some(file),
        test,
    }
}

const EXPR: &str = "kernels/expr";
const PROGRAM: &str = "kernels/program";
const EVAL: &str = "kernels/eval";
const PTX: &str = "kernels/ptx";
const RUNTIME: &str = "runtime";

/// Random queries, lowered, against the interpreter of trees.
const TREES: Killer = integration(
    EXPR,
    "lowering",
    "oracle::random_queries_mean_what_their_trees_mean",
);
/// Every operation of every type on special and random values, at every level of the machine,
/// against the interpreter of programs.
const CELLS: Killer = integration(EVAL, "differential", "every_cell_agrees");
/// Random programs, likewise.
const PROGRAMS: Killer = integration(EVAL, "differential", "random_programs_agree");
/// Random programs as PTX, on the simulated GPU, against the interpreter of programs.
const KERNELS: Killer = integration(
    PTX,
    "differential",
    "kernels_compute_what_the_interpreter_does",
);
/// The shortest digits of floats, likewise, where the rules that find them change.
const DIGITS: Killer = integration(
    PTX,
    "differential",
    "digits::doubles_have_their_shortest_digits",
);
/// Strings under many interleavings.
const STRINGS: Killer = integration(
    PTX,
    "differential",
    "strings::every_interleaving_keeps_the_same_strings",
);
/// Each shape of kernel under many interleavings.
const INTERLEAVINGS: Killer = integration(
    PTX,
    "differential",
    "interleavings::every_interleaving_has_one_result",
);
/// The rules that the text of kernels keeps.
const LINT: Killer = integration(PTX, "shapes", "lint::the_rules_hold_for_every_shape");
const COMPACTION: Killer = library(
    EVAL,
    "compact::tests::values_of_every_width_are_compacted_at_every_level",
);
/// Conjunctions of tests, which the plan makes one step of.
const CONJUNCTIONS: Killer = library(
    EVAL,
    "run::tests::a_confined_test_gives_what_a_conjunction_does",
);

/// All of them, those of one file together so that little is built twice.
pub(crate) const MUTANTS: &[Mutant] = &[
    // The program's passes.
    Mutant {
        name: "cse-keeps-the-greatest-ordinal",
        file: "kernels/program/src/passes/cse.rs",
        original: "*ordinal = other.min(*ordinal);",
        planted: "*ordinal = other.max(*ordinal);",
        killer: library(
            PROGRAM,
            "passes::tests::equal_traps_merge_into_the_least_ordinal",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "cse-mirrors-less-to-greater-or-equal",
        file: "kernels/program/src/passes/cse.rs",
        original: "CompareOp::Lt => CompareOp::Gt,",
        planted: "CompareOp::Lt => CompareOp::Ge,",
        killer: library(PROGRAM, "passes::tests::integers_fold_and_floats_do_not"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "fold-drops-a-certain-trap",
        file: "kernels/program/src/passes/fold/mod.rs",
        original: "if known(when, made) == Some(false) => Becomes::Nothing",
        planted: "if known(when, made).is_some() => Becomes::Nothing",
        killer: library(PROGRAM, "passes::tests::constants_are_computed"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "fold-merges-casts-that-lose-bits",
        file: "kernels/program/src/passes/fold/mod.rs",
        original: "to.bits() <= middle.bits()",
        planted: "to.bits() >= middle.bits()",
        killer: library(PROGRAM, "passes::tests::negations_and_casts_fold"),
        needs: Needs::AnyCpu,
    },
    // Lowering.
    Mutant {
        name: "or-is-false-where-one-side-is",
        file: "kernels/expr/src/lower/logic.rs",
        original: "Truth::Any(args) => every(args, false, builder),",
        planted: "Truth::Any(args) => args.iter().fold(FALSE, |any, arg| {
                let next = arg.is_false(builder);
                builder.or(any, next)
            }),",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "and-evaluates-its-right-side-where-the-left-is-false",
        file: "kernels/expr/src/lower/logic.rs",
        original: "self.operands_until(Decides::False, args, scope)?",
        planted: "self.operands_until(Decides::True, args, scope)?",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "case-evaluates-a-branch-that-is-not-taken",
        file: "kernels/expr/src/lower/logic.rs",
        original: "self.value(value, &rows.only(met))?",
        planted: "self.value(value, &rows)?",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "subtraction-never-overflows",
        file: "kernels/expr/src/lower/arith.rs",
        original: "ArithmeticOp::Sub => OverflowOp::Sub,",
        planted: "ArithmeticOp::Sub => return FALSE,",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "the-dividend-is-checked-for-zero",
        file: "kernels/expr/src/lower/arith.rs",
        original: "self.is_zero(ty, rhs.value)",
        planted: "self.is_zero(ty, lhs.value)",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "in-ignores-a-null-of-the-list",
        file: "kernels/expr/src/lower/compare.rs",
        original: "list.iter().any(|literal| literal.value.is_none())",
        planted: "list.is_empty()",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-literal-beyond-the-type-is-on-the-other-side",
        file: "kernels/expr/src/lower/compare.rs",
        original: "ordering = Some(side.reverse())",
        planted: "ordering = Some(side)",
        killer: library(
            EXPR,
            "lower::tests::a_literal_beyond_the_narrow_type_decides_all_valid_rows",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "an-upper-bound-includes-its-limit",
        file: "kernels/expr/src/lower/bounds.rs",
        original: "self.lower(limit.saturating_sub(1))",
        planted: "self.lower(limit)",
        killer: library(
            EXPR,
            "lower::tests::anded_bounds_are_one_range_whatever_the_literals",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "unsigned-types-hold-negative-numbers",
        file: "kernels/expr/src/narrow.rs",
        original: "least <= other_least && other_greatest <= greatest",
        planted: "least <= other_greatest && other_greatest <= greatest",
        killer: integration(
            EXPR,
            "lowering",
            "oracle::every_narrowed_comparison_means_what_the_wide_one_does",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "try-keeps-what-failed",
        file: "kernels/expr/src/lower/mod.rs",
        original: "self.builder.and_not(value.valid, failed)",
        planted: "self.builder.or(value.valid, failed)",
        killer: TREES,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "projections-trap-on-rows-filtered-out",
        file: "kernels/expr/src/lower/mod.rs",
        original: "everywhere.only(keep)",
        planted: "everywhere.only(TRUE)",
        killer: library(
            EXPR,
            "lower::tests::a_projection_traps_only_on_rows_that_the_filter_keeps",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "keys-of-nulls-are-checked",
        file: "kernels/expr/src/lower/dictionary.rs",
        original: "self.fail(outside, keys.valid, failure, scope);",
        planted: "self.fail(outside, TRUE, failure, scope);",
        killer: integration(
            EXPR,
            "lowering",
            "keys::keys_of_null_rows_and_of_rows_that_nobody_asks_for_do_not_matter",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-decimal-may-have-one-digit-more",
        file: "kernels/expr/src/lower/cast.rs",
        original: "10i128.pow(precision.into()) - 1",
        planted: "10i128.pow(precision.into())",
        killer: integration(
            EXPR,
            "lowering",
            "oracle::every_cast_means_what_the_table_says",
        ),
        needs: Needs::AnyCpu,
    },
    // The evaluator.
    Mutant {
        name: "less-or-equal-is-less",
        file: "kernels/eval/src/kernels/compare.rs",
        original: "CompareOp::Le if linear => (Relation::Less, true, true),",
        planted: "CompareOp::Le if linear => (Relation::Less, false, false),",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "bits-beyond-the-last-row-are-left",
        file: "kernels/eval/src/mask.rs",
        original: "let beyond = *word & !low_bits(rows);",
        planted: "let beyond = *word & !low_bits(WORD + rows);",
        killer: PROGRAMS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "confined-test-keeps-its-sense",
        file: "kernels/eval/src/plan.rs",
        original: "negate: step.negate ^ (op == MaskOp::AndNot),",
        planted: "negate: step.negate,",
        killer: CONJUNCTIONS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "half-is-rounded-down",
        file: "kernels/eval/src/kernels/decimal.rs",
        original: "2 * remainder.unsigned_abs() >= divisor.unsigned_abs()",
        planted: "2 * remainder.unsigned_abs() > divisor.unsigned_abs()",
        killer: library(
            EVAL,
            "kernels::decimal::tests::halves_and_what_is_next_to_them_are_rounded_as_asked",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-set-misses-members",
        file: "kernels/eval/src/kernels/lookup.rs",
        original: "select_unpredictable(at(first + half) <= value,",
        planted: "select_unpredictable(at(first + half) < value,",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "one-key-beyond-the-table-is-inside",
        file: "kernels/eval/src/kernels/lookup.rs",
        original: "T::clamped(last as i128)",
        planted: "T::clamped(last as i128 + 1)",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "negative-integers-are-zero-extended",
        file: "kernels/eval/src/kernels/cast.rs",
        original: "from.is_signed() && from.bits() < to.bits()",
        planted: "false",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-float-one-beyond-the-type-fits",
        file: "kernels/eval/src/kernels/cast.rs",
        original: "(whole < self.end)",
        planted: "(whole <= self.end)",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-difference-keeps-its-nan",
        file: "kernels/eval/src/element.rs",
        original: "(self - other).canonical()",
        planted: "self - other",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "negative-floats-are-ordered-backwards",
        file: "kernels/eval/src/kernels/compare.rs",
        original: "(I::less(lhs, rhs) & !reversed) | (I::less(rhs, lhs) & reversed)",
        planted: "I::less(lhs, rhs)",
        killer: CELLS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "spark-tells-nans-apart",
        file: "kernels/eval/src/kernels/compare.rs",
        original: "I::equal(lhs, rhs) | (nan::<I, T>(lhs) & nan::<I, T>(rhs))",
        planted: "I::equal(lhs, rhs)",
        killer: integration(EVAL, "differential", "special_floats_compare_alike"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-compacted-validity-is-all-true",
        file: "kernels/eval/src/kernels/movement.rs",
        original: "mask::extent(kept, words)",
        planted: "Extent::All",
        killer: PROGRAMS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-late-trap-names-the-row-among-those-kept",
        file: "kernels/eval/src/kernels/logic.rs",
        original: "MaskView::Some(keep) => nth_kept(keep, row),",
        planted: "MaskView::Some(keep) => nth_kept(keep, row).min(row),",
        killer: library(
            EVAL,
            "run::tests::a_trap_of_the_kept_rows_names_the_row_of_the_caller",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-mask-of-one-row-is-empty",
        file: "kernels/eval/src/frame.rs",
        original: "if set == 0 {",
        planted: "if set <= 1 {",
        killer: PROGRAMS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-tile-without-kept-rows-is-kept-whole",
        file: "kernels/eval/src/frame.rs",
        original: "Extent::None => 0,",
        planted: "Extent::None => self.rows,",
        killer: PROGRAMS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "compaction-forgets-the-last-row",
        file: "kernels/eval/src/compact/mod.rs",
        original: "for value in &mut out[at..][..kept] {",
        planted: "for value in &mut out[at..][..kept - 1] {",
        killer: COMPACTION,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "compacted-bits-end-with-their-word",
        file: "kernels/eval/src/compact/mod.rs",
        original: "if shift + kept > WORD {",
        planted: "if shift + kept > 2 * WORD {",
        killer: PROGRAMS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "avx2-compacts-pairs-of-bytes-by-their-first",
        file: "kernels/eval/src/isa/avx2.rs",
        original: "_mm_add_epi8(order, _mm_set1_epi8(1))",
        planted: "_mm_add_epi8(order, _mm_set1_epi8(0))",
        killer: COMPACTION,
        needs: Needs::Avx2,
    },
    Mutant {
        name: "avx2-compares-unsigned-as-signed",
        file: "kernels/eval/src/isa/avx2.rs",
        original: "(_mm256_xor_si256(lhs, half), _mm256_xor_si256(rhs, half))",
        planted: "(_mm256_or_si256(lhs, half), _mm256_or_si256(rhs, half))",
        killer: CELLS,
        needs: Needs::Avx2,
    },
    Mutant {
        name: "avx512-compacts-half-of-wide-values",
        file: "kernels/eval/src/isa/avx512.rs",
        original: "_pdep_u64(selected, 0b101) as u8 * 3",
        planted: "_pdep_u64(selected, 0b101) as u8",
        killer: COMPACTION,
        needs: Needs::Avx512,
    },
    Mutant {
        name: "avx512-takes-equal-for-less",
        file: "kernels/eval/src/isa/avx512.rs",
        original: "compare::<_MM_CMPINT_LT, _CMP_LT_OQ, T>(lhs, rhs)",
        planted: "compare::<_MM_CMPINT_LE, _CMP_LT_OQ, T>(lhs, rhs)",
        killer: CELLS,
        needs: Needs::Avx512,
    },
    // Kernels for GPUs.
    Mutant {
        name: "ptx-takes-less-or-equal-for-less",
        file: "kernels/ptx/src/integer.rs",
        original: "CompareOp::Lt => \"lt\",",
        planted: "CompareOp::Lt => \"le\",",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-lengthens-signed-words-with-zeros",
        file: "kernels/ptx/src/cast.rs",
        original: "self.asm.r64(\"cvt.s64.s32\", word)",
        planted: "self.asm.r64(\"cvt.u64.u32\", word)",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-keeps-rows-behind-the-last",
        file: "kernels/ptx/src/predicate.rs",
        original: "frame.asm.pred(\"and.pred\", (kept, exists))",
        planted: "frame.asm.pred(\"and.pred\", (kept, kept))",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-votes-without-the-last-lane",
        file: "kernels/ptx/src/dense.rs",
        original: "(set, ALL_LANES)",
        planted: "(set, ALL_LANES >> 1)",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-lets-lanes-without-a-row-leave-before-the-vote",
        file: "kernels/ptx/src/dense.rs",
        original: "let rows = Rows::striped(row, vec![Some(exists)]);",
        planted: "frame.asm.unless(exists).jump(ready);\n        let rows = Rows::striped(row, vec![Some(exists)]);",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-andnot-is-and",
        file: "kernels/ptx/src/evaluate.rs",
        original: "let not = self.not(rhs);",
        planted: "let not = rhs;",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-reports-the-greatest-row",
        file: "kernels/ptx/src/traps.rs",
        original: "\"red.global.max.u64\"",
        planted: "\"red.global.min.u64\"",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-reports-the-greatest-ordinal",
        file: "kernels/ptx/src/traps.rs",
        original: "\"min.u32\", (least, ordinal)",
        planted: "\"max.u32\", (least, ordinal)",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-forgets-the-carry",
        file: "kernels/ptx/src/wide.rs",
        original: "high: self.asm.r64(\"addc.u64\", (x.high, y.high)),",
        planted: "high: self.asm.r64(\"add.u64\", (x.high, y.high)),",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-keeps-the-hardware-s-nan",
        file: "kernels/ptx/src/float.rs",
        original: "(nan(ty), value, is_nan)",
        planted: "(value, value, is_nan)",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-converts-wide-integers-without-the-sticky-bit",
        file: "kernels/ptx/src/cast.rs",
        original: "self.asm.r64(\"or.b64\", (top, last))",
        planted: "self.asm.r64(\"or.b64\", (top, top))",
        killer: KERNELS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-takes-the-ends-of-an-odd-float-s-interval",
        file: "kernels/ptx/src/digits.rs",
        original: "self.subtract_wide(gap, wide(odd))",
        planted: "self.subtract_wide(gap, wide(zero))",
        killer: DIGITS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-takes-a-power-of-two-s-interval-for-even",
        file: "kernels/ptx/src/digits.rs",
        original: "select_wide(lopsided, quarter, upper)",
        planted: "select_wide(lopsided, upper, upper)",
        killer: DIGITS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-gives-a-string-s-first-byte-to-the-one-before",
        file: "kernels/ptx/src/strings.rs",
        original: "[\"setp.le.\", R::UNSIGNED]",
        planted: "[\"setp.lt.\", R::UNSIGNED]",
        killer: STRINGS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-adds-a-warp-s-own-bytes-to-those-before",
        file: "kernels/ptx/src/strings.rs",
        original: "\"setp.gt.u32\", (self.warp, warp)",
        planted: "\"setp.ge.u32\", (self.warp, warp)",
        killer: STRINGS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-reads-a-bitmap-s-byte-behind-the-last",
        file: "kernels/ptx/src/rows.rs",
        original: "\"setp.ne.u32\", (offset, 0u32)",
        planted: "\"setp.eq.u32\", (offset, offset)",
        killer: integration(PTX, "differential", "traffic::validity_takes_a_bit_a_row"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-joins-bits-at-the-wrong-place",
        file: "kernels/ptx/src/scatter.rs",
        original: "\"and.b32\", (self.counted.base, LANES - 1)",
        planted: "\"and.b32\", (self.counted.base, LANES / 2 - 1)",
        killer: INTERLEAVINGS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-looks-back-past-the-nearest",
        file: "kernels/ptx/src/look_back.rs",
        original: "\"setp.le.u32\", (lane, nearest)",
        planted: "\"setp.lt.u32\", (lane, nearest)",
        killer: INTERLEAVINGS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-looks-back-at-the-same-tiles-again",
        file: "kernels/ptx/src/look_back.rs",
        original: "(looked, LANES)",
        planted: "(looked, 0u32)",
        killer: integration(
            PTX,
            "differential",
            "interleavings::tiles_look_back_further_than_a_warp",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-scans-without-a-barrier",
        file: "kernels/ptx/src/look_back.rs",
        original: "let known = frame.asm.label(\"known\");\n    frame.asm.run(\"bar.sync\", 0u32);",
        planted: "let known = frame.asm.label(\"known\");",
        killer: INTERLEAVINGS,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-publishes-by-a-weak-store",
        file: "kernels/ptx/src/look_back.rs",
        original: "\"st.relaxed.gpu.global.b64\"",
        planted: "\"st.global.b64\"",
        killer: LINT,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-reads-traps-without-a-fence",
        file: "kernels/ptx/src/status.rs",
        original: "    if can_trap {\n        frame.asm.run_plain(\"fence.acq_rel.gpu\");\n    }\n    let done",
        planted: "    let done",
        killer: LINT,
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "ptx-lets-sums-be-contracted",
        file: "kernels/ptx/src/float.rs",
        original: "BinaryOp::Add => \"add.rn.\",",
        planted: "BinaryOp::Add => \"add.\",",
        killer: LINT,
        needs: Needs::AnyCpu,
    },
    // The scheduler.
    Mutant {
        name: "scheduler-wakes-nobody",
        file: "runtime/src/scheduler/dispatcher/locked.rs",
        original: "self.woken.0.push(waker);",
        planted: "drop(waker);",
        killer: library(
            RUNTIME,
            "scheduler::dispatcher::tests::one_thread_waits_for_many_turns_and_only_the_next_is_woken",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-overlooks-room",
        file: "runtime/src/scheduler.rs",
        original: "self.devices[device.0].leave(entry.job.bytes);\n        self.touched.push(device);",
        planted: "self.devices[device.0].leave(entry.job.bytes);",
        killer: library(
            RUNTIME,
            "scheduler::tests::a_full_queue_is_tried_again_after_a_completion",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-takes-a-job-back-twice",
        file: "runtime/src/scheduler.rs",
        original: "if entry.stage == Stage::Waiting || entry",
        planted: "if entry",
        killer: library(
            RUNTIME,
            "scheduler::tests::what_a_device_says_twice_counts_once",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-keeps-a-device-for-a-cancelled-turn",
        file: "runtime/src/scheduler/dispatcher/locked.rs",
        original: "Some(Event::Failed { id, device })",
        planted: "None",
        killer: library(
            RUNTIME,
            "scheduler::dispatcher::tests::a_turn_that_is_cancelled_before_it_is_heard_of_leaves_the_device",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-forgets-a-revival-that-nobody-waits-for",
        file: "runtime/src/scheduler/dispatcher/locked.rs",
        original: "self.state.unattended.push(device);",
        planted: "let _forgotten = device;",
        killer: library(
            RUNTIME,
            "scheduler::dispatcher::tests::who_does_not_wait_for_a_revival_leaves_it_to_the_next",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "placement-chooses-a-device-that-is-reset",
        file: "runtime/src/runtime.rs",
        original: "self.devices[slot].is_being_reset()",
        planted: "slot == usize::MAX",
        killer: integration(
            RUNTIME,
            "faults",
            "placement_passes_a_device_by_while_it_is_reset",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-reset-is-never-late",
        file: "runtime/src/device_slot.rs",
        original: "resetting.age() >= it_may",
        planted: "resetting.age() > Duration::MAX - it_may",
        killer: integration(
            RUNTIME,
            "faults",
            "a_reset_that_takes_longer_than_it_may_has_failed",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "a-reset-holds-up-all",
        file: "runtime/src/device_slot.rs",
        original: "it_may.min(BRIEFLY)",
        planted: "it_may.max(BRIEFLY)",
        killer: integration(
            RUNTIME,
            "faults",
            "a_reset_holds_nobody_up_who_can_go_elsewhere",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-forgets-a-refund",
        file: "runtime/src/scheduler/fair_queue.rs",
        original: "account.paid = account.paid - charge.price;",
        planted: "",
        killer: library(
            RUNTIME,
            "scheduler::fair_queue::tests::what_the_device_refused_costs_nothing",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-leaves-an-estimate-uncorrected",
        file: "runtime/src/scheduler/fair_queue.rs",
        original: "account.paid - charge.price + VirtualTime::of(used, charge.weight)",
        planted: "account.paid",
        killer: library(
            RUNTIME,
            "scheduler::fairness::equal_sessions_have_equal_shares_whatever_the_sizes_of_their_jobs",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-starves-behind-new-sessions",
        file: "runtime/src/scheduler/fair_queue.rs",
        original: "level + place.price(rate)",
        planted: "level",
        killer: library(
            RUNTIME,
            "scheduler::fairness::new_sessions_do_not_starve_an_old_one",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "scheduler-gives-credit-for-idle-time",
        file: "runtime/src/scheduler/fair_queue.rs",
        original: "account.paid = account.paid.max(level.just_before());",
        planted: "let _idle = level;",
        killer: library(
            RUNTIME,
            "scheduler::fair_queue::tests::idle_time_is_no_credit",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "workers-charge-nothing",
        file: "runtime/src/workers.rs",
        original: "state.line.settle(&job, charge, used);",
        planted: "state.line.settle(&job, charge, used * 0);",
        killer: library(RUNTIME, "workers::tests::what_took_long_is_paid_for"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "devices-share-their-threads",
        file: "runtime/src/kernel/submitted.rs",
        original: "&runtime.devices[device].workers;",
        planted: "&runtime.devices[device.min(1)].workers;",
        killer: integration(
            RUNTIME,
            "sessions",
            "who_waits_for_one_device_holds_up_nobody_who_wants_another",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "what-is-left-is-collected-by-who-waits-for-it",
        file: "runtime/src/kernel/given_up.rs",
        original: "&call.runtime.devices[slot].collector;",
        planted: "&call.runtime.devices[slot].workers;",
        killer: integration(
            RUNTIME,
            "sessions",
            "what_is_left_on_a_device_is_taken_back_while_all_others_wait_for_it",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "memory-is-waited-for-in-vain",
        file: "runtime/src/pool/central.rs",
        original: "ask.given_up.load(Ordering::Relaxed) || (ask.ended)()",
        planted: "ask.given_up.load(Ordering::Relaxed)",
        killer: integration(
            RUNTIME,
            "sessions",
            "nobody_waits_for_memory_who_has_no_use_for_it",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "placement-ignores-what-others-have-on-a-link",
        file: "runtime/src/placement/links.rs",
        original: "terms.link_wait = longest.unwrap_or_default();",
        planted: "let _ = longest;",
        killer: library(
            RUNTIME,
            "placement::tests::spreading::so_it_is_where_they_share_a_link",
        ),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "placement-holds-that-launches-take-nothing",
        file: "runtime/src/placement/estimate.rs",
        original: "self.wy + penalty * other.offset",
        planted: "self.wy",
        killer: library(RUNTIME, "placement::estimate::tests::a_launch_is_learnt"),
        needs: Needs::AnyCpu,
    },
    Mutant {
        name: "placement-has-one-batch-pay-for-compiling",
        file: "runtime/src/auto.rs",
        original: "compile_batches: self.batches.load(Ordering::Relaxed),",
        planted: "compile_batches: 1,",
        killer: integration(
            RUNTIME,
            "placement",
            "compiling_is_spread_over_batches_until_it_is_done",
        ),
        needs: Needs::AnyCpu,
    },
];
