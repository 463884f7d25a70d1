//! Random plans: what must hold of every cut holds, and the pieces compute what the whole does.

use std::sync::{Arc, LazyLock};

use operators::{
    Expression, Scalar,
    aggregate::{AggregateCall, AggregateFunction::*},
    expression::Comparison,
    hash_join::JoinKind,
    set_operation::SetOperator,
};
use proptest::prelude::*;

use super::{
    super::{ClusterShape, DistributionMode, explain::explain_distributed, fragment},
    invariants,
    plans::*,
    simulation::{as_set, run_distributed, run_whole},
    tables::{SHARED, catalogs},
};
use crate::{
    engine::{Engine, EngineOptions},
    plan::physical::{PhysicalOperator, PhysicalPlan},
};

/// What a random plan is made by; the first choice where there are no more.
struct Choices {
    numbers: std::vec::IntoIter<u8>,
    next_filter: u32,
    num_ctes: u32,
}

const KINDS: [JoinKind; 11] = [
    JoinKind::Inner,
    JoinKind::ProbeOuter,
    JoinKind::BuildOuter,
    JoinKind::FullOuter,
    JoinKind::ProbeSemi,
    JoinKind::ProbeAnti,
    JoinKind::ProbeMark,
    JoinKind::ProbeSingle,
    JoinKind::BuildSemi,
    JoinKind::BuildAnti,
    JoinKind::BuildMark,
];

const KEYS: [&[(usize, usize)]; 6] = [&[(K, K)], &[(V, V)], &[(K, V)], &[(K, K), (V, V)], &[(V, K)], &[]];

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.numbers.next().unwrap_or(0)) % count
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Expected numbers of rows: what is chosen by them is to be tried, whether they are right or not.
    fn rows(&mut self) -> f64 {
        self.of(&[1e7, 10.0, 1e5, 3e5])
    }

    fn query(&mut self) -> PhysicalPlan {
        let num_ctes = self.below(3) as u32;
        let mut ctes = vec![];
        while self.num_ctes < num_ctes {
            ctes.push(self.plan(2));
            self.num_ctes += 1;
        }
        let plan = self.plan(4);
        // Every CTE is read, as the optimizer sees to.
        let plan = (0..num_ctes).fold(plan, |plan, cte| match reads(&plan, cte) || ctes.iter().any(|other| reads(other, cte)) {
            true => plan,
            false => join(JoinKind::ProbeSemi, plan, cte_scan(cte, 10.0), &[(V, V)]),
        });
        let plan = if self.below(3) == 1 { self.sorted(plan) } else { plan };
        numbered(if ctes.is_empty() { plan } else { with(ctes, plan) })
    }

    fn plan(&mut self, depth: usize) -> PhysicalPlan {
        if depth == 0 {
            return self.leaf();
        }
        match self.below(10) {
            0 => self.leaf(),
            1 => filter(self.plan(depth - 1), 2),
            2 => {
                let expressions = self.of(&[[V, K, F, T], [K, K, F, T], [V, V, F, T]]);
                project(self.plan(depth - 1), expressions.map(column).to_vec())
            }
            3 | 4 => self.aggregated(depth),
            5 => union(vec![self.plan(depth - 1), self.plan(depth - 1)]),
            6 => {
                let operator = self.of(&[SetOperator::Intersect, SetOperator::IntersectAll, SetOperator::Except, SetOperator::ExceptAll]);
                set_operation(operator, self.plan(depth - 1), self.plan(depth - 1))
            }
            _ => self.joined(depth),
        }
    }

    fn leaf(&mut self) -> PhysicalPlan {
        match self.below(8) {
            6 => values(),
            7 if self.num_ctes > 0 => {
                let cte = self.below(self.num_ctes as usize) as u32;
                cte_scan(cte, self.rows())
            }
            _ => {
                let table = self.of(&SHARED);
                scan(table, self.rows())
            }
        }
    }

    fn joined(&mut self, depth: usize) -> PhysicalPlan {
        let (kind, keys) = (self.of(&KINDS), self.of(&KEYS));
        let (probe, build) = (self.plan(depth - 1), self.plan(depth - 1));
        if kind == JoinKind::Inner && self.below(2) == 1 {
            return join_with_build_key(probe, build, keys);
        }
        self.next_filter += 1;
        with_runtime_filter(join(kind, probe, build, keys), self.next_filter)
    }

    fn aggregated(&mut self, depth: usize) -> PhysicalPlan {
        let distinct = |call: AggregateCall| AggregateCall { distinct: true, ..call };
        let limit = Box::new(Expression::Literal(Scalar::Int64(3)));
        let some = Expression::Compare { operator: Comparison::Less, left: Box::new(column(K)), right: limit };
        let filtered = |call: AggregateCall| AggregateCall { filter: Some(some.clone()), ..call };
        let aggregations: [(&[usize], Vec<AggregateCall>); 8] = [
            (&[K], vec![call(CountStar, None), call(Sum, Some(F)), call(Max, Some(T))]),
            (&[V], vec![call(Count, Some(V)), call(Min, Some(F)), call(Min, Some(T))]),
            (&[K, V], vec![call(Sum, Some(F)), call(Max, Some(T))]),
            (&[], vec![call(Min, Some(K)), distinct(call(Count, Some(V))), distinct(call(Sum, Some(F))), call(Max, Some(T))]),
            (&[V], vec![distinct(call(Count, Some(K))), distinct(call(Sum, Some(F))), call(Max, Some(T))]),
            (&[K, V, F, T], vec![]),
            (&[], vec![call(Min, Some(K)), call(CountStar, None), call(Sum, Some(F)), call(Max, Some(T))]),
            (&[V], vec![filtered(call(CountStar, None)), filtered(call(Sum, Some(F))), filtered(call(Max, Some(T)))]),
        ];
        let (keys, calls) = self.of(&aggregations);
        let input = self.plan(depth - 1);
        let groups = if keys.is_empty() { 1.0 } else { self.rows() };
        aggregate(input, keys, calls, groups)
    }

    fn sorted(&mut self, plan: PhysicalPlan) -> PhysicalPlan {
        let (limit, offset) = self.of(&[(None, 0), (Some(3), 0), (Some(3), 2), (None, 2)]);
        sort(plan, limit, offset)
    }
}

fn reads(plan: &PhysicalPlan, wanted: u32) -> bool {
    let mut found = false;
    plan.for_each(&mut |node| found |= matches!(node.operator, PhysicalOperator::CteScan { cte, .. } if cte.0 == wanted));
    found
}

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| Engine::new(EngineOptions { num_threads: 1, ..EngineOptions::default() }));

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pieces_compute_what_the_whole_does(
        numbers in prop::collection::vec(any::<u8>(), 10..60),
        workers in 1_usize..4,
        always in any::<bool>(),
    ) {
        let plan = Choices { numbers: numbers.into_iter(), next_filter: 0, num_ctes: 0 }.query();
        let catalogs = catalogs();
        let mode = if always { DistributionMode::Always } else { DistributionMode::Auto };
        let shape = ClusterShape { workers, threads: workers, worker_memory_bytes: 1 << 30, small_query_bytes: 0, mode };
        if let Some(distributed) = fragment(&plan, &catalogs, &shape).unwrap() {
            invariants::check(&plan, &distributed, &catalogs);
            match (run_whole(&ENGINE, &plan), run_distributed(&ENGINE, &distributed, workers)) {
                (Ok(whole), Ok(pieces)) => {
                    prop_assert_eq!(as_set(&whole), as_set(&pieces), "{}", explain_distributed(&distributed).join("\n"));
                }
                // A second match of a row that may have only one.
                (whole, pieces) => prop_assert_eq!(whole.is_err(), pieces.is_err()),
            }
        }
    }
}
