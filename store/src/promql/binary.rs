//! Binary operators: of scalars, of a vector with a scalar, and of two vectors by matching labels.

use std::collections::HashMap;
use std::sync::Arc;

use super::algebra::{self, Mismatch};
use super::error::QueryError;
use super::evaluate::{Data, Env};
use super::grid::Grid;
use super::labels::{self, Keep};
use super::plan::{Binary, BinaryOp, Cardinality, Kind, Matching};
use super::scalar::Scalar;
use super::vector::{ABSENT, Cells, HISTOGRAM, Shape, Table, Vector, is_absent, take_histograms};
use crate::{Histogram, Labels};

impl BinaryOp {
    /// As it is written.
    const fn text(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Lt => "<",
            Self::Ge => ">=",
            Self::Le => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    fn compares(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Gt | Self::Lt | Self::Ge | Self::Le)
    }

    #[inline]
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Gt => a > b,
            Self::Lt => a < b,
            Self::Ge => a >= b,
            Self::Le => a <= b,
            _ => false,
        }
    }

    #[inline]
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Mod => a % b,
            Self::Pow => a.powf(b),
            Self::Atan2 => a.atan2(b),
            compares => f64::from(u8::from(compares.holds(a, b))),
        }
    }
}

impl<'a> Env<'a> {
    pub(super) fn binary(&'a self, binary: &'a Binary, grid: Grid) -> Result<Data<'a>, QueryError> {
        match (binary.lhs_kind, binary.rhs_kind) {
            (Kind::Scalar, Kind::Scalar) => {
                let (mut lhs, rhs) = (self.scalar(&binary.lhs, grid)?, self.scalar(&binary.rhs, grid)?);
                lhs.iter_mut().zip(&*rhs).for_each(|(a, b)| *a = binary.op.of(*a, *b));
                Ok(Data::Scalar(lhs))
            }
            (Kind::Vector, Kind::Scalar) => {
                let vector = self.vector(&binary.lhs, grid)?;
                let scalar = self.scalar(&binary.rhs, grid)?;
                Ok(Data::Vector(self.with_scalar(binary, vector, scalar, false)?))
            }
            (Kind::Scalar, _) => {
                let scalar = self.scalar(&binary.lhs, grid)?;
                let vector = self.vector(&binary.rhs, grid)?;
                Ok(Data::Vector(self.with_scalar(binary, vector, scalar, true)?))
            }
            _ => {
                let lhs = self.table(&binary.lhs, grid)?;
                let rhs = self.table(&binary.rhs, grid)?;
                let table = match binary.op {
                    BinaryOp::And => self.and(&binary.matching, lhs, &rhs, true)?,
                    BinaryOp::Unless => self.and(&binary.matching, lhs, &rhs, false)?,
                    BinaryOp::Or => self.or(&binary.matching, lhs, rhs)?,
                    _ => self.matched(binary, lhs, rhs)?,
                };
                Ok(Data::Vector(Vector::Ready(table)))
            }
        }
    }

    /// Rows of `lhs` where a matching series of `rhs` has a value (`and`), or where none has (`unless`).
    fn and(&self, matching: &Matching, mut lhs: Table, rhs: &Table, wanted: bool) -> Result<Table, QueryError> {
        let mut key = Vec::new();
        let _held = self.budget.hold(rhs.values.len() / 8)?;
        let present = presence(matching, rhs);
        for row in 0..lhs.rows() {
            signature(matching, &lhs, row, &mut key);
            match present.get(&key) {
                Some(present) => {
                    for (value, &present) in lhs.row_mut(row).iter_mut().zip(present) {
                        if present != wanted {
                            *value = ABSENT;
                        }
                    }
                }
                None if wanted => lhs.row_mut(row).fill(ABSENT),
                None => {}
            }
        }
        lhs.compact();
        Ok(lhs)
    }

    /// All of `lhs`, and what `rhs` has where no matching series of `lhs` has a value.
    fn or(&self, matching: &Matching, mut lhs: Table, mut rhs: Table) -> Result<Table, QueryError> {
        let steps = lhs.shape.steps;
        let mut key = Vec::new();
        let _held = self.budget.hold(lhs.values.len() / 8)?;
        let present = presence(matching, &lhs);
        lhs.settle_names();
        rhs.settle_names();
        let mut kept = vec![ABSENT; steps];
        for row in 0..rhs.rows() {
            signature(matching, &rhs, row, &mut key);
            kept.copy_from_slice(rhs.row(row));
            if let Some(present) = present.get(&key) {
                for (value, _) in kept.iter_mut().zip(present).filter(|(_, present)| **present) {
                    *value = ABSENT;
                }
            }
            lhs.push_with(rhs.labels[row].clone(), &kept, rhs.cells(row))?;
        }
        lhs.shape.one_name = false;
        lhs.compact();
        lhs.join_same_labels()?;
        Ok(lhs)
    }

    /// Arithmetic and comparison of series that belong together.
    fn matched(&self, binary: &Binary, lhs: Table, rhs: Table) -> Result<Table, QueryError> {
        let matching = &binary.matching;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        // `one` is the side on which a match group may have one series at a time.
        let (mut many, mut one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        if matching.fill.iter().any(Option::is_some) {
            let [left, right] = matching.fill;
            let (for_many, for_one) = if swapped { (right, left) } else { (left, right) };
            self.fill(matching, (&mut many, for_many), (&mut one, for_one))?;
        }
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let steps = many.shape.steps;
        let drop_name = !binary.op.compares() || binary.return_bool;

        let mut key = Vec::new();
        let mut groups: HashMap<Vec<u8>, Vec<usize>> = HashMap::with_capacity(one.rows());
        for row in 0..one.rows() {
            signature(matching, &one, row, &mut key);
            match groups.get_mut(&key) {
                Some(rows) => rows.push(row),
                None => {
                    groups.insert(key.clone(), vec![row]);
                }
            }
        }
        if groups.values().any(|rows| rows.len() > 1) {
            let mut active = vec![false; steps];
            for row in 0..many.rows() {
                active
                    .iter_mut()
                    .zip(many.row(row))
                    .for_each(|(a, v)| *a |= !is_absent(*v));
            }
            let side = if swapped { "left" } else { "right" };
            for rows in groups.values().filter(|rows| rows.len() > 1) {
                refuse_duplicates(matching, &one, rows, &active, side)?;
            }
        }

        let mut out = Table::new(
            &self.budget,
            Shape {
                steps,
                nameless: false,
                one_name: false,
            },
        )?;
        let mut group_of_row = Vec::new();
        let mut group_numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut values = vec![ABSENT; steps];
        for row in 0..many.rows() {
            if row % 256 == 255 {
                self.deadline.check()?;
            }
            signature(matching, &many, row, &mut key);
            let Some(partners) = groups.get(&key) else { continue };
            let next = group_numbers.len();
            let group = *group_numbers.entry(key.clone()).or_insert(next);
            for &partner in partners {
                let mut any = false;
                let mut cells = Cells::new();
                let histograms = !many.cells(row).is_empty() || !one.cells(partner).is_empty();
                for (step, value) in values.iter_mut().enumerate() {
                    let (a, b) = (many.row(row)[step], one.row(partner)[step]);
                    *value = if is_absent(a) || is_absent(b) {
                        ABSENT
                    } else if histograms
                        && let (own, other) = (many.histogram(row, step), one.histogram(partner, step))
                        && (own.is_some() || other.is_some())
                    {
                        let (a, b) = (Operand::of(a, own), Operand::of(b, other));
                        let (a, b) = if swapped { (b, a) } else { (a, b) };
                        match self.with_histograms(binary, a, b) {
                            None => ABSENT,
                            Some((_, holds)) if binary.return_bool => f64::from(u8::from(holds)),
                            Some((_, false)) => ABSENT,
                            Some((histogram, true)) => {
                                cells.push((step as u32, histogram));
                                HISTOGRAM
                            }
                        }
                    } else {
                        let (a, b) = if swapped { (b, a) } else { (a, b) };
                        if !binary.op.compares() || binary.return_bool {
                            binary.op.of(a, b)
                        } else if binary.op.holds(a, b) {
                            a
                        } else {
                            ABSENT
                        }
                    };
                    any |= !is_absent(*value);
                }
                if any {
                    out.push_with(
                        result_labels(matching, one_to_one, drop_name, &many, row, &one, partner),
                        &values,
                        &cells,
                    )?;
                    group_of_row.push(group);
                }
            }
        }
        if one_to_one {
            refuse_many_to_one(&out, &group_of_row)?;
        }
        out.join_same_labels_or(|a, b| {
            if group_of_row[a] == group_of_row[b] {
                QueryError::execution("multiple matches for labels: grouping labels must ensure unique matches")
            } else {
                QueryError::same_labelset()
            }
        })?;
        Ok(out)
    }
}

impl<'a> Env<'a> {
    /// Gives both sides a row for each match group that lacks one at some step: there it has the value to fill in.
    fn fill(
        &self,
        matching: &Matching,
        (many, for_many): (&mut Table, Option<f64>),
        (one, for_one): (&mut Table, Option<f64>),
    ) -> Result<(), QueryError> {
        let _held = self.budget.hold((many.values.len() + one.values.len()) / 8)?;
        let (among_many, among_one) = (presence(matching, many), presence(matching, one));
        // Where both sides lack a value there is nothing to compare, so that a row made here never meets another one.
        for (side, value, own, other) in [
            (many, for_many, &among_many, &among_one),
            (one, for_one, &among_one, &among_many),
        ] {
            let Some(value) = value else { continue };
            let mut groups: Vec<_> = other.iter().collect();
            groups.sort_unstable_by_key(|(key, _)| *key);
            for (key, wanted) in groups {
                let have = own.get(key);
                let lacks = |step: usize| wanted[step] && have.is_none_or(|have| !have[step]);
                let row: Vec<f64> = (0..wanted.len())
                    .map(|step| if lacks(step) { value } else { ABSENT })
                    .collect();
                if row.iter().any(|v| !is_absent(*v)) {
                    side.push(labels::from_projected(key), &row)?;
                }
            }
        }
        Ok(())
    }

    fn with_scalar(
        &'a self,
        binary: &'a Binary,
        vector: Vector<'a>,
        scalar: Scalar,
        swapped: bool,
    ) -> Result<Vector<'a>, QueryError> {
        let op = binary.op;
        let filter = op.compares() && !binary.return_bool;
        vector.map(!filter, false, move |row, cells| {
            let histograms = if cells.is_empty() {
                Cells::new()
            } else {
                take_histograms(row, cells)
            };
            numbers_with_scalar(op, filter, row, &scalar, swapped);
            for (step, histogram) in histograms {
                let (a, b) = (Operand::Histogram(&histogram), Operand::Number(scalar[step as usize]));
                let (a, b) = if swapped { (b, a) } else { (a, b) };
                if let Some((found, _)) = self.with_histograms(binary, a, b) {
                    row[step as usize] = HISTOGRAM;
                    cells.push((step, found));
                }
            }
        })
    }

    /// What an operation on histograms, or on a histogram and a number, yields, and whether it holds where it compares; `None`, with
    /// a note, where there is no such operation.
    fn with_histograms(&self, binary: &Binary, a: Operand<'_>, b: Operand<'_>) -> Option<(Arc<Histogram>, bool)> {
        let op = binary.op;
        let changed = |histogram: &Histogram, change: &dyn Fn(&mut Histogram)| {
            let mut histogram = histogram.clone();
            change(&mut histogram);
            Some((Arc::new(histogram), true))
        };
        match (op, a, b) {
            (BinaryOp::Mul, Operand::Number(by), Operand::Histogram(h))
            | (BinaryOp::Mul, Operand::Histogram(h), Operand::Number(by)) => {
                changed(h, &|histogram| algebra::multiply(histogram, by))
            }
            (BinaryOp::Div, Operand::Histogram(h), Operand::Number(by)) => {
                changed(h, &|histogram| algebra::divide(histogram, by))
            }
            (BinaryOp::Add | BinaryOp::Sub, Operand::Histogram(a), Operand::Histogram(b)) => {
                let mut result = Histogram::clone(a);
                let done = if op == BinaryOp::Add {
                    algebra::add(&mut result, b)
                } else {
                    algebra::subtract(&mut result, b)
                };
                match done {
                    Ok(()) => Some((Arc::new(result), true)),
                    Err(Mismatch::Schemas | Mismatch::Bounds) => {
                        self.notes.incompatible_layout(op.text(), binary.place);
                        None
                    }
                }
            }
            (BinaryOp::Eq | BinaryOp::Ne, Operand::Histogram(a), Operand::Histogram(b)) => {
                let holds = algebra::equal(a, b) == (op == BinaryOp::Eq);
                Some((Arc::clone(a), holds))
            }
            _ => {
                self.notes
                    .incompatible_types(a.type_name(), op.text(), b.type_name(), binary.place);
                None
            }
        }
    }
}

/// One side of an operation at one step.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Number(f64),
    Histogram(&'a Arc<Histogram>),
}

impl<'a> Operand<'a> {
    fn of(number: f64, histogram: Option<&'a Arc<Histogram>>) -> Self {
        histogram.map_or(Self::Number(number), Self::Histogram)
    }

    const fn type_name(self) -> &'static str {
        match self {
            Self::Number(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

fn numbers_with_scalar(op: BinaryOp, filter: bool, row: &mut [f64], scalar: &[f64], swapped: bool) {
    for (value, &scalar) in row.iter_mut().zip(scalar) {
        if is_absent(*value) {
            continue;
        }
        let (a, b) = if swapped { (scalar, *value) } else { (*value, scalar) };
        if !filter {
            *value = op.of(a, b);
        } else if !op.holds(a, b) {
            *value = ABSENT;
        }
    }
}

/// At which steps each match group of a table has a value.
fn presence(matching: &Matching, table: &Table) -> HashMap<Vec<u8>, Vec<bool>> {
    let mut key = Vec::new();
    let mut groups: HashMap<Vec<u8>, Vec<bool>> = HashMap::new();
    for row in 0..table.rows() {
        signature(matching, table, row, &mut key);
        let present = groups
            .entry(key.clone())
            .or_insert_with(|| vec![false; table.shape.steps]);
        for (present, value) in present.iter_mut().zip(table.row(row)) {
            *present |= !is_absent(*value);
        }
    }
    groups
}

/// The bytes of those labels of a row that have to agree.
fn signature(matching: &Matching, table: &Table, row: usize, key: &mut Vec<u8>) {
    let keep = if matching.on {
        Keep::Only(&matching.labels)
    } else {
        Keep::Without(&matching.labels)
    };
    keep.project(&table.labels[row], table.shape.nameless, key);
}

fn result_labels(
    matching: &Matching,
    one_to_one: bool,
    drop_name: bool,
    many: &Table,
    row: usize,
    one: &Table,
    partner: usize,
) -> Labels {
    let nameless = many.shape.nameless || drop_name;
    let source = &many.labels[row];
    if one_to_one {
        let kept = |name: &str| {
            !(nameless && labels::goes_with_name(name))
                && matching.labels.iter().any(|label| label == name) == matching.on
        };
        return Labels::from_pairs(source.iter().filter(|(name, _)| kept(name)));
    }
    if matching.include.is_empty() {
        return if nameless {
            labels::without_name(source)
        } else {
            source.clone()
        };
    }
    let included = |name: &str| matching.include.iter().any(|label| label == name);
    let own = source
        .iter()
        .filter(|(name, _)| !(included(name) || nameless && labels::goes_with_name(name)));
    let from_one = one.labels[partner]
        .iter()
        .filter(|(name, _)| !(one.shape.nameless && labels::goes_with_name(name)) && included(name));
    Labels::from_pairs(own.chain(from_one))
}

/// Fails where two series of one match group have values at a step at which the other side has any.
fn refuse_duplicates(
    matching: &Matching,
    one: &Table,
    rows: &[usize],
    active: &[bool],
    side: &str,
) -> Result<(), QueryError> {
    for (step, _) in active.iter().enumerate().filter(|(_, active)| **active) {
        let mut present = rows.iter().filter(|&&row| !is_absent(one.row(row)[step]));
        if let (Some(&first), Some(&second)) = (present.next(), present.next()) {
            let keep = if matching.on {
                Keep::Only(&matching.labels)
            } else {
                Keep::Without(&matching.labels)
            };
            let mut key = Vec::new();
            keep.project(&one.labels[second], one.shape.nameless, &mut key);
            return Err(QueryError::execution(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                labels::go_string(&labels::from_projected(&key)),
                labels::go_string(&one.labels_of(second)),
                labels::go_string(&one.labels_of(first)),
            )));
        }
    }
    Ok(())
}

/// Fails where two results of one match group stand at the same step.
fn refuse_many_to_one(out: &Table, group_of_row: &[usize]) -> Result<(), QueryError> {
    let mut rows_of_group: HashMap<usize, Vec<usize>> = HashMap::new();
    for (row, group) in group_of_row.iter().enumerate() {
        rows_of_group.entry(*group).or_default().push(row);
    }
    for rows in rows_of_group.values().filter(|rows| rows.len() > 1) {
        for step in 0..out.shape.steps {
            if rows
                .iter()
                .filter(|&&row| !is_absent(out.row(row)[step]))
                .nth(1)
                .is_some()
            {
                return Err(QueryError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
        }
    }
    Ok(())
}
