//! Crowds that want more seats and memory than there are.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits(seats: usize, per_address: usize, bytes: usize) -> ServerLimits {
    ServerLimits {
        connections_max: seats,
        connections_per_ip: per_address,
        held_bytes: bytes,
        ..ServerLimits::default()
    }
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// A crowd and the time.
struct Crowd {
    places: Places,
    limits: ServerLimits,
    now: Duration,
    /// Seats that somebody sits on as far as we know.
    seats: Vec<Arc<Seat>>,
}

impl Crowd {
    fn new(limits: ServerLimits) -> Self {
        Crowd { places: Places::default(), limits, now: SECOND, seats: Vec::new() }
    }

    fn arrive(&mut self, number: u8) -> Result<Arc<Seat>, NoSeat> {
        let seated = self.places.admit(address(number), &self.limits, self.now)?;
        self.now += Duration::from_millis(1);
        self.seats.push(seated.seat.clone());
        Ok(seated.seat)
    }

    fn has_seat(&self, seat: &Seat) -> bool {
        self.places.lock().entries.contains_key(&seat.id())
    }

    fn seats_of(&self, number: u8) -> usize {
        self.places.lock().seats_of(address(number))
    }

    fn charge(&self, seat: &Arc<Seat>, more: usize) -> bool {
        self.places.charge(seat, more, &self.limits, self.now)
    }
}

#[test]
fn clients_of_streams_have_seats_of_their_own_also_from_one_address() {
    let mut crowd = Crowd::new(limits(4, 2, 1000));
    crowd.places.make_room(10);
    let is_let_in = |crowd: &mut Crowd, address: u8| {
        let seat = crowd.arrive(address).ok();
        seat.inspect(|seat| seat.enter(SeatPhase::Answering, crowd.now)).is_some()
    };
    let taken = (0..20).filter(|_| is_let_in(&mut crowd, 1)).count();
    assert_eq!(taken, 12, "two of its own and ten of streams");
    assert!(is_let_in(&mut crowd, 2), "others have room");
    // Fewer after a reload: who is there stays, and nobody else comes.
    crowd.places.make_room(0);
    assert!(!is_let_in(&mut crowd, 2) && !is_let_in(&mut crowd, 1));
    assert_eq!(crowd.seats_of(1), 12);
}

#[test]
fn dripping_heads_from_a_few_addresses_keep_nobody_out() {
    let mut crowd = Crowd::new(limits(512, 128, 1000));
    for _ in 0..120 {
        for attacker in 1..=5 {
            crowd.arrive(attacker).ok();
        }
    }
    let taken: usize = (1..=5).map(|it| crowd.seats_of(it)).sum();
    assert!((425..=512).contains(&taken), "{taken}");
    for _ in 0..40 {
        crowd.arrive(1).ok();
        let honest = crowd.arrive(100).expect("there is room for an honest sender");
        crowd.now += SECOND;
        assert!(crowd.has_seat(&honest));
        honest.enter(SeatPhase::Answering, crowd.now);
        crowd.places.leave(&honest);
    }
}

#[test]
fn a_known_sender_and_a_request_under_way_keep_their_seats() {
    let mut crowd = Crowd::new(limits(4, 4, 1000));
    let known = crowd.arrive(1).unwrap();
    known.note_answer();
    known.vouch();
    let answering = crowd.arrive(1).unwrap();
    answering.enter(SeatPhase::Answering, crowd.now);
    let streaming = crowd.arrive(2).unwrap();
    streaming.enter(SeatPhase::Streaming, crowd.now);
    let uploading = crowd.arrive(2).unwrap();
    uploading.enter(SeatPhase::Body, crowd.now);
    assert_eq!(crowd.arrive(3).err(), Some(NoSeat::Full), "a fresh body is no slow one");
    crowd.now += 3 * SECOND;
    let newcomer = crowd.arrive(3).unwrap();
    let kept = [&known, &answering, &streaming, &uploading, &newcomer].map(|it| crowd.has_seat(it));
    assert_eq!(kept, [true, true, true, false, true]);
}

#[test]
fn who_has_come_least_far_leaves_first() {
    let mut crowd = Crowd::new(limits(4, 4, 1000));
    let asked = crowd.arrive(1).unwrap();
    asked.note_answer();
    let silent = crowd.arrive(1).unwrap();
    let held = crowd.arrive(1).unwrap();
    held.enter(SeatPhase::Held, crowd.now);
    let later = crowd.arrive(1).unwrap();
    let mut left = Vec::new();
    for newcomer in 2..=5 {
        let seat = crowd.arrive(newcomer).unwrap();
        seat.enter(SeatPhase::Answering, crowd.now);
        let gone = [&asked, &silent, &held, &later].iter().filter(|it| !crowd.has_seat(it)).count();
        left.push((crowd.has_seat(&held), crowd.has_seat(&silent), crowd.has_seat(&later)));
        assert_eq!(gone, left.len());
    }
    let expected =
        [(false, true, true), (false, false, true), (false, false, false), (false, false, false)];
    assert_eq!(left, expected);
}

#[test]
fn an_address_may_not_free_its_held_seats_by_coming_again() {
    let mut crowd = Crowd::new(limits(100, 10, 1000));
    let hold = |seat: Arc<Seat>, now| seat.enter(SeatPhase::Held, now);
    for _ in 0..10 {
        let seat = crowd.arrive(1).unwrap();
        hold(seat, crowd.now);
    }
    let mut guesses = 0;
    let end = crowd.now + SECOND;
    while crowd.now < end {
        match crowd.arrive(1) {
            Ok(seat) => {
                hold(seat, crowd.now);
                guesses += 1;
            }
            Err(no_seat) => assert_eq!(no_seat, NoSeat::Share),
        }
        crowd.now += Duration::from_millis(1);
    }
    assert!(guesses <= 9, "{guesses} in a second");
}

#[test]
fn memory_goes_from_who_holds_most_to_who_holds_less() {
    let mut crowd = Crowd::new(limits(100, 100, 100));
    let hoarders: Vec<_> = (0..5).map(|_| crowd.arrive(1).unwrap()).collect();
    for seat in &hoarders {
        seat.enter(SeatPhase::Body, crowd.now);
        assert!(crowd.charge(seat, 20));
    }
    let honest = crowd.arrive(2).unwrap();
    honest.enter(SeatPhase::Body, crowd.now);
    assert!(!crowd.charge(&honest, 10), "nobody is slow yet");
    assert!(!crowd.charge(&hoarders[0], 1), "who holds most gets no more");
    crowd.now += 3 * SECOND;
    assert!(crowd.charge(&honest, 10));
    assert!(!crowd.has_seat(&hoarders[0]), "the slowest has left");
    assert_eq!(crowd.places.bytes(), 90);
    assert!(crowd.charge(&honest, 40));
    assert!(!crowd.charge(&honest, 20), "it would hold as much as the others");
    // Of one address, a slow one that holds more gives way to one that wants less, and no other.
    let neighbour = crowd.arrive(1).unwrap();
    assert!(!crowd.charge(&neighbour, 20), "it would hold as much");
    assert!(crowd.charge(&neighbour, 15));
    let left = [3, 4].map(|number: usize| crowd.has_seat(&hoarders[number]));
    assert_eq!(left, [false, true], "the slowest has left");
    crowd.places.leave(&neighbour);
    // One that is alone gets what it needs, or it would never be served.
    hoarders.iter().for_each(|hoarder| crowd.places.leave(hoarder));
    assert!(crowd.charge(&honest, 10_000));
    crowd.places.release(&honest);
    assert_eq!(crowd.places.bytes(), 0);
}

/// What may happen next.
#[derive(Debug, Clone)]
enum Step {
    Arrive(u8),
    Leave(usize),
    Enter(usize, SeatPhase),
    Answer(usize),
    Vouch(usize),
    Charge(usize, usize),
    Release(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let phase = prop_oneof![
        Just(SeatPhase::Waiting),
        Just(SeatPhase::Body),
        Just(SeatPhase::Answering),
        Just(SeatPhase::Writing),
        Just(SeatPhase::Streaming),
        Just(SeatPhase::Held),
        Just(SeatPhase::Leaving),
    ];
    prop_oneof![
        6 => (0u8..6).prop_map(Step::Arrive),
        2 => any::<usize>().prop_map(Step::Leave),
        4 => (any::<usize>(), phase).prop_map(|scalar| Step::Enter(scalar.0, scalar.1)),
        2 => any::<usize>().prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::Vouch),
        4 => (any::<usize>(), 1usize..60).prop_map(|scalar| Step::Charge(scalar.0, scalar.1)),
        2 => any::<usize>().prop_map(Step::Release),
        2 => (0u64..5000).prop_map(Step::Wait),
    ]
}

/// Whether a seat must be left to who sits on it, whoever comes.
fn is_safe(seat: &Seat, now: Duration) -> bool {
    seat.rank(now).is_none()
}

proptest! {
    #[test]
    fn whatever_a_crowd_does_the_bounds_and_the_promises_hold(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut crowd = Crowd::new(limits(12, 6, 100));
        for step in steps {
            let before: Vec<(Arc<Seat>, bool, usize)> = crowd
                .seats
                .iter()
                .filter(|seat| crowd.has_seat(seat))
                .map(|seat| (seat.clone(), is_safe(seat, crowd.now), seat.bytes()))
                .collect();
            let some = |index: &usize| before.get(index % before.len().max(1)).map(|it| it.0.clone());
            let counts: HashMap<IpAddr, usize> = before.iter().fold(HashMap::new(), |mut all, it| {
                *all.entry(it.0.address()).or_default() += 1;
                all
            });
            let mut may_go: Option<u64> = None;
            match &step {
                Step::Arrive(number) => {
                    let own = counts.get(&address(*number)).copied().unwrap_or(0);
                    let came = crowd.arrive(*number);
                    for (seat, was_safe, _) in &before {
                        if crowd.has_seat(seat) {
                            continue;
                        }
                        prop_assert!(!was_safe, "{seat:?} was cut off for {number}");
                        let others = counts[&seat.address()];
                        prop_assert!(seat.address() == address(*number) || own < others);
                        prop_assert!(may_go.replace(seat.id()).is_none(), "two left for one");
                    }
                    // Who has no seat gets one, unless all of them are busy.
                    let has_idle = before.iter().any(|it| !it.1);
                    prop_assert!(came.is_ok() || 0 < own || !has_idle, "{number} was kept out");
                }
                Step::Leave(index) => {
                    if let Some(seat) = some(index) {
                        crowd.places.leave(&seat);
                    }
                }
                Step::Enter(index, phase) => {
                    some(index).inspect(|it| it.enter(*phase, crowd.now));
                }
                Step::Answer(index) => drop(some(index).inspect(|it| it.note_answer())),
                Step::Vouch(index) => drop(some(index).inspect(|it| it.vouch())),
                Step::Charge(index, more) => {
                    if let Some(seat) = some(index) {
                        let is_charged = crowd.charge(&seat, *more);
                        let is_alone = crowd.places.bytes() == seat.bytes();
                        prop_assert!(!is_charged || is_alone || crowd.places.bytes() <= 100);
                        for (other, _, held) in &before {
                            if !crowd.has_seat(other) {
                                prop_assert!(0 < *held && other.id() != seat.id());
                                prop_assert!(other.may_be_cut(crowd.now), "{other:?} was busy");
                                prop_assert!(!other.is_known() || seat.is_known());
                            }
                        }
                    }
                }
                Step::Release(index) => {
                    some(index).inspect(|it| crowd.places.release(it));
                }
                Step::Wait(millis) => crowd.now += Duration::from_millis(*millis),
            }
            let seated: Vec<_> = crowd.seats.iter().filter(|seat| crowd.has_seat(seat)).collect();
            prop_assert_eq!(seated.len(), crowd.places.len());
            prop_assert!(crowd.places.len() <= 12);
            for number in 0..6 {
                prop_assert!(crowd.seats_of(number) <= 6);
            }
            let held: usize = seated.iter().map(|it| it.bytes()).sum();
            prop_assert_eq!(held, crowd.places.bytes());
        }
        crowd.seats.iter().for_each(|seat| crowd.places.leave(seat));
        prop_assert_eq!((crowd.places.len(), crowd.places.bytes()), (0, 0));
    }
}
