//! Which demands on classes of CPUs cannot be met together.

/// Amounts of CPUs below this are nothing.
pub(super) const NOTHING: f64 = 1e-9;

/// Who wants how much of what: groups of threads, and classes of CPUs with equal users.
pub(super) struct Network<'a> {
    /// For each group, the classes that it may use.
    pub edges: &'a [Vec<usize>],
    /// For each class, how many CPUs it has.
    pub capacities: &'a [f64],
}

/// A flow from groups to classes that is as large as possible.
struct Flow<'a> {
    network: &'a Network<'a>,
    /// What is left of each demand.
    left: Vec<f64>,
    /// What is free of each class.
    free: Vec<f64>,
    /// What goes along each edge.
    amounts: Vec<Vec<f64>>,
}

impl Network<'_> {
    /// The groups of a set whose demands are together more than their classes have: a minimal cut. `None`: all demands
    /// can be met.
    pub(super) fn excess(&self, demands: &[f64]) -> Option<Vec<usize>> {
        let mut flow = Flow {
            network: self,
            left: demands.to_vec(),
            free: self.capacities.to_vec(),
            amounts: self.edges.iter().map(|classes| vec![0.0; classes.len()]).collect(),
        };
        let unmet = (0..demands.len()).filter(|&group| !flow.meet(group)).collect::<Vec<_>>();
        // Whoever is reached from an unmet group shares its bottleneck.
        let (groups, _) = flow.reach(unmet.first().copied()?, &unmet);
        Some(groups)
    }
}

impl Flow<'_> {
    /// Sends what is left of a group's demand along augmenting paths; answers whether all of it went.
    fn meet(&mut self, group: usize) -> bool {
        while self.left[group] > NOTHING {
            let (_, path) = self.reach(group, &[]);
            let Some(path) = path else { return false };
            self.augment(group, &path);
        }
        true
    }

    /// The groups that `start` (and `others`) could displace, and the path to a class with free CPUs, if there is one:
    /// pairs of a group and the index of its edge.
    fn reach(&self, start: usize, others: &[usize]) -> (Vec<usize>, Option<Vec<(usize, usize)>>) {
        let mut seen = vec![false; self.left.len()];
        let mut seen_classes = vec![false; self.free.len()];
        // For each reached group, over which class it was reached: by whom, and by which edge of theirs.
        let mut queue = vec![(start, None::<(usize, usize)>)];
        queue.extend(others.iter().filter(|&&group| group != start).map(|&group| (group, None)));
        queue.iter().for_each(|&(group, _)| seen[group] = true);
        let mut next = 0;
        while next < queue.len() {
            let (group, _) = queue[next];
            for (edge, &class) in self.network.edges[group].iter().enumerate() {
                if std::mem::replace(&mut seen_classes[class], true) {
                    continue;
                }
                if self.free[class] > NOTHING {
                    let groups = queue.iter().map(|&(group, _)| group).collect();
                    return (groups, Some(path(&queue, next, edge)));
                }
                for user in (0..self.left.len()).filter(|&user| !seen[user]).collect::<Vec<_>>() {
                    if self.amount(user, class) > NOTHING {
                        seen[user] = true;
                        queue.push((user, Some((next, edge))));
                    }
                }
            }
            next += 1;
        }
        (queue.into_iter().map(|(group, _)| group).collect(), None)
    }

    fn amount(&self, group: usize, class: usize) -> f64 {
        self.edge(group, class).map_or(0.0, |edge| self.amounts[group][edge])
    }

    fn edge(&self, group: usize, class: usize) -> Option<usize> {
        self.network.edges[group].iter().position(|&used| used == class)
    }

    fn augment(&mut self, start: usize, path: &[(usize, usize)]) {
        let class_of = |flow: &Self, &(group, edge): &(usize, usize)| flow.network.edges[group][edge];
        let Some(last) = path.last().map(|step| class_of(self, step)) else { return };
        let displaced: Vec<(usize, usize)> =
            path.windows(2).map(|pair| (pair[1].0, class_of(self, &pair[0]))).collect();
        let narrowest = displaced.iter().map(|&(group, class)| self.amount(group, class));
        let amount = narrowest.fold(self.left[start].min(self.free[last]), f64::min);
        for &(group, class) in &displaced {
            if let Some(edge) = self.edge(group, class) {
                self.amounts[group][edge] -= amount;
            }
        }
        for &(group, edge) in path {
            self.amounts[group][edge] += amount;
        }
        self.left[start] -= amount;
        self.free[last] -= amount;
    }
}

/// The steps from the start to the edge `edge` of the group at `last`.
fn path(queue: &[(usize, Option<(usize, usize)>)], last: usize, edge: usize) -> Vec<(usize, usize)> {
    let mut steps = vec![(queue[last].0, edge)];
    let mut came = queue[last].1;
    while let Some((place, edge)) = came {
        steps.push((queue[place].0, edge));
        came = queue[place].1;
    }
    steps.reverse();
    steps
}
