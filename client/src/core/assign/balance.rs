//! Sticky where members subscribe to different topics: a flow of least cost.
//!
//!     topic ──units given──▶ member ──load──▶ sink
//!             cost −1 each,           cost load²: uneven loads cost more
//!             up to what it owned
//!
//! An assignment is how many partitions of each topic each member gets; which of them is settled at the
//! end, those it owned first. Its cost is the sum of the squares of the loads, and then, far smaller, the
//! number of partitions that move. Both are convex, so an assignment is the cheapest there is if and only if
//! no cycle of single exchanges is cheaper (the negative cycles of a flow's residual graph). Hence:
//! begin close by (keep all, give the rest to the least loaded, level out directly), then cancel cycles
//! until none is left. The beginning decides how long it takes, the end what comes out.

use super::{Given, MemberAt, PartitionAt, Problem, TopicAt, sticky};

/// A member may have partitions of a topic.
struct Edge {
    topic: TopicAt,
    member: MemberAt,
    owned: usize,
    given: usize,
}

impl Edge {
    /// What one unit more costs.
    fn give(&self) -> i64 {
        if self.given < self.owned { -1 } else { 0 }
    }

    /// What one unit less costs.
    fn take(&self) -> i64 {
        if self.given <= self.owned { 1 } else { 0 }
    }
}

struct Flow {
    edges: Vec<Edge>,
    /// Edges by topic and by member.
    of_topic: Vec<Vec<usize>>,
    of_member: Vec<Vec<usize>>,
    load: Vec<i64>,
    /// One unit of the loads' squares outweighs every partition that could move.
    weight: i64,
}

pub(super) fn assign(problem: &Problem, owners: &Given) -> Given {
    let mut flow = Flow::new(problem, owners);
    flow.fill(problem);
    flow.level();
    while flow.cancel_cycles() {}
    flow.settle(problem, owners)
}

impl Flow {
    /// Everybody keeps what it owns.
    fn new(problem: &Problem, owners: &Given) -> Flow {
        let mut edges = Vec::new();
        let mut of_topic = vec![Vec::new(); problem.topics.len()];
        let mut of_member = vec![Vec::new(); problem.member_count()];
        let owned = sticky::owned_by(problem, owners);
        for (member, topics) in problem.subscriptions.iter().enumerate() {
            for topic in topics {
                of_topic[*topic].push(edges.len());
                of_member[member].push(edges.len());
                let range = problem.partitions(*topic);
                let below = |end: PartitionAt| owned[member].partition_point(|at| *at < end);
                let owned = below(range.end) - below(range.start);
                edges.push(Edge { topic: *topic, member, owned, given: owned });
            }
        }
        let load = owned.iter().map(|owned| owned.len() as i64).collect();
        Flow { edges, of_topic, of_member, load, weight: 2 * owners.len() as i64 + 2 }
    }

    fn give(&mut self, edge: usize) {
        self.edges[edge].given += 1;
        self.load[self.edges[edge].member] += 1;
    }

    fn take(&mut self, edge: usize) {
        self.edges[edge].given -= 1;
        self.load[self.edges[edge].member] -= 1;
    }

    fn least_loaded(&self, topic: TopicAt) -> usize {
        let load = |edge: &usize| self.load[self.edges[*edge].member];
        let least = self.of_topic[topic].iter().min_by_key(|edge| load(edge));
        *least.expect("BUG: only topics with a subscriber are in the problem")
    }

    /// Gives what nobody has to the least loaded; topics with the fewest takers first.
    fn fill(&mut self, problem: &Problem) {
        let mut topics: Vec<TopicAt> = (0..self.of_topic.len()).collect();
        topics.sort_by_key(|topic| self.of_topic[*topic].len());
        for topic in topics {
            let given: usize = self.of_topic[topic].iter().map(|edge| self.edges[*edge].given).sum();
            for _ in given..problem.partitions(topic).len() {
                self.give(self.least_loaded(topic));
            }
        }
    }

    /// Moves units from the most to the least loaded where one step does it.
    fn level(&mut self) {
        let mut members: Vec<MemberAt> = (0..self.load.len()).collect();
        while let Some(at) = (0..members.len()).max_by_key(|at| self.load[members[*at]]) {
            let member = members[at];
            let has_some = |edge: &&usize| self.edges[**edge].given > 0;
            let way = |from: &usize| {
                let to = self.least_loaded(self.edges[*from].topic);
                (self.load[self.edges[to].member], self.edges[*from].take(), *from, to)
            };
            match self.of_member[member].iter().filter(has_some).map(way).min() {
                Some((load, _, from, to)) if load + 2 <= self.load[member] => {
                    self.take(from);
                    self.give(to);
                }
                _ => _ = members.swap_remove(at),
            }
        }
    }

    /// Finds exchanges that make it cheaper and carries them out; `false` if there are none.
    fn cancel_cycles(&mut self) -> bool {
        let mut search = Search::new(self);
        while search.relax(self) {
            let cycles = search.cycles();
            if !cycles.is_empty() {
                cycles.into_iter().flatten().for_each(|step| self.apply(step));
                return true;
            }
        }
        false
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Give(edge) => self.give(edge),
            Step::Take(edge) => self.take(edge),
            // The loads follow from the units.
            Step::Load | Step::Unload => {}
        }
    }

    /// Says which partitions: of those a member owned, the first ones; of the rest, any.
    fn settle(&self, problem: &Problem, owners: &Given) -> Given {
        let mut given = vec![None; owners.len()];
        let owned = sticky::owned_by(problem, owners);
        for edge in &self.edges {
            let range = problem.partitions(edge.topic);
            let kept = owned[edge.member].iter().filter(|at| range.contains(at)).take(edge.given);
            kept.for_each(|at| given[*at] = Some(edge.member));
        }
        for (topic, edges) in self.of_topic.iter().enumerate() {
            let mut free: Vec<PartitionAt> =
                problem.partitions(topic).rev().filter(|at| given[*at].is_none()).collect();
            for edge in edges.iter().map(|edge| &self.edges[*edge]) {
                for _ in edge.owned.min(edge.given)..edge.given {
                    given[free.pop().expect("BUG: a topic gives all it has")] = Some(edge.member);
                }
            }
            assert!(free.is_empty(), "BUG: a topic gives all it has");
        }
        given
    }
}

/// One arc of the residual graph.
#[derive(Clone, Copy)]
enum Step {
    /// The topic gives a unit to the member.
    Give(usize),
    /// The topic takes it back.
    Take(usize),
    /// The member's load grows, or shrinks.
    Load,
    Unload,
}

/// Bellman and Ford's search for cheaper ways, from everywhere at once. Nodes: topics, members, sink.
struct Search {
    distance: Vec<i64>,
    /// The node before each, and how one gets from there.
    before: Vec<Option<(usize, Step)>>,
    topics: usize,
}

impl Search {
    fn new(flow: &Flow) -> Search {
        let nodes = flow.of_topic.len() + flow.of_member.len() + 1;
        Search { distance: vec![0; nodes], before: vec![None; nodes], topics: flow.of_topic.len() }
    }

    /// Takes every arc once; whether any led somewhere more cheaply.
    fn relax(&mut self, flow: &Flow) -> bool {
        let sink = self.distance.len() - 1;
        let mut changed = false;
        for (member, load) in flow.load.iter().enumerate().filter(|(_, load)| **load > 0) {
            let saved = flow.weight * (2 * load - 1);
            changed |= self.step(sink, self.topics + member, -saved, Step::Unload);
        }
        for (at, edge) in flow.edges.iter().enumerate().filter(|(_, edge)| edge.given > 0) {
            changed |= self.step(self.topics + edge.member, edge.topic, edge.take(), Step::Take(at));
        }
        for (at, edge) in flow.edges.iter().enumerate() {
            changed |= self.step(edge.topic, self.topics + edge.member, edge.give(), Step::Give(at));
        }
        for (member, load) in flow.load.iter().enumerate() {
            changed |= self.step(self.topics + member, sink, flow.weight * (2 * load + 1), Step::Load);
        }
        changed
    }

    fn step(&mut self, from: usize, to: usize, cost: i64, step: Step) -> bool {
        let distance = self.distance[from] + cost;
        if distance >= self.distance[to] {
            return false;
        }
        self.distance[to] = distance;
        self.before[to] = Some((from, step));
        true
    }

    /// The cycles among the nodes' ways back; each makes the flow cheaper, and no two share a node.
    fn cycles(&self) -> Vec<Vec<Step>> {
        let (mut cycles, mut seen_by) = (Vec::new(), vec![usize::MAX; self.before.len()]);
        for start in 0..self.before.len() {
            let mut node = start;
            while seen_by[node] == usize::MAX {
                seen_by[node] = start;
                let Some((before, _)) = self.before[node] else { break };
                node = before;
            }
            // Came back to itself on this very walk: `node` is on a cycle.
            if seen_by[node] == start && self.before[node].is_some() {
                cycles.push(self.cycle_through(node));
            }
        }
        cycles
    }

    fn cycle_through(&self, first: usize) -> Vec<Step> {
        let (mut steps, mut node) = (Vec::new(), first);
        loop {
            let (before, step) = self.before[node].expect("BUG: a cycle goes on");
            steps.push(step);
            node = before;
            if node == first {
                return steps;
            }
        }
    }
}
