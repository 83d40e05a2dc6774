use prometheus::Registry;
use protocol::messages::TopicName;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::{FetchedPartition, FetchedTopic, StrBytes};

use super::*;

const NOW: Duration = Duration::from_secs(1000);
/// Partitions of all sessions together.
const MAX: usize = 50;
const NAMES: i16 = 12;
const IDS: i16 = 13;

fn sessions(slots: usize) -> Arc<FetchSessions> {
    FetchSessions::bounded(slots, MAX, Random::seeded(3), FetchSessionMetrics::new(&Registry::new()).unwrap())
}

fn request(id: i32, epoch: i32, partitions: i32) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions((0..partitions).map(|index| FetchPartition::default().with_partition(index)).collect());
    FetchRequest::default().with_session_id(id).with_session_epoch(epoch).with_topics(if partitions == 0 { vec![] } else { vec![topic] })
}

/// An answer with the same marks for every partition.
fn answer(request: &FetchRequest, high_watermark: i64) -> FetchResponse {
    let topics = request.topics.iter().map(|topic| FetchedTopic {
        name: topic.topic.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|part| FetchedPartition { partition_index: part.partition, high_watermark, log_start_offset: 0, ..Default::default() })
            .collect(),
        ..FetchedTopic::default()
    });
    FetchResponse { topics: topics.collect(), ..FetchResponse::default() }
}

/// The whole of a fetch: the session id answered, and how many partitions are in the answer.
fn fetch(sessions: &Arc<FetchSessions>, mut request: FetchRequest, high_watermark: i64) -> Result<(i32, usize), ErrorCode> {
    let fetch = sessions.begin(NAMES, &mut request, NOW)?;
    let mut response = answer(&request, high_watermark);
    fetch.finish(&mut response, NOW);
    Ok((response.session_id, response.topics.iter().map(|topic| topic.partitions.len()).sum()))
}

fn open(sessions: &Arc<FetchSessions>, partitions: i32) -> i32 {
    fetch(sessions, request(0, INITIAL_EPOCH, partitions), 0).unwrap().0
}

fn counts(sessions: &FetchSessions) -> (usize, usize) {
    sessions.with(|cache| (cache.sessions(), cache.partitions()))
}

#[test]
fn a_session_is_told_all_once_and_then_what_changed() {
    let sessions = sessions(10);
    let id = open(&sessions, 3);
    assert_ne!(id, NO_SESSION);
    assert_eq!(fetch(&sessions, request(id, 1, 0), 0), Ok((id, 0)));
    assert_eq!(fetch(&sessions, request(id, 2, 4), 0), Ok((id, 1)), "the fourth is new to it");
    assert_eq!(fetch(&sessions, request(id, 3, 0), 1), Ok((id, 4)));
    assert_eq!(counts(&sessions), (1, 4));
    assert_eq!(fetch(&sessions, request(id, 3, 0), 1), Err(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(fetch(&sessions, request(id, FINAL_EPOCH, 2), 1), Ok((NO_SESSION, 2)), "what comes with the last request is read");
    assert_eq!(fetch(&sessions, request(id, 4, 0), 1), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(counts(&sessions), (0, 0));
}

#[test]
fn asking_in_full_closes_the_session_that_is_named_and_makes_a_new_one() {
    let sessions = sessions(10);
    let id = open(&sessions, 3);
    let (next, told) = fetch(&sessions, request(id, INITIAL_EPOCH, 3), 0).unwrap();
    assert!(next != id && told == 3);
    assert_eq!(counts(&sessions), (1, 3));
}

#[test]
fn without_room_or_without_partitions_there_is_no_session() {
    assert_eq!(fetch(&sessions(0), request(0, INITIAL_EPOCH, 3), 0), Ok((NO_SESSION, 3)));
    let sessions = sessions(1);
    assert_eq!(fetch(&sessions, request(0, INITIAL_EPOCH, 0), 0), Ok((NO_SESSION, 0)));
    let id = open(&sessions, 3);
    assert_eq!(fetch(&sessions, request(0, INITIAL_EPOCH, 2), 0), Ok((NO_SESSION, 2)));
    assert_eq!(fetch(&sessions, request(id, 1, 0), 0), Ok((id, 0)), "the one there is stays");
    let mut forgetting = request(id, 2, 0);
    forgetting.forgotten_topics_data = vec![
        protocol::messages::fetch_request::ForgottenTopic::default()
            .with_topic(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![0, 1, 2]),
    ];
    assert_eq!(fetch(&sessions, forgetting, 0), Ok((NO_SESSION, 0)), "nothing is left of it");
    assert_eq!(counts(&sessions), (0, 0));
}

#[test]
fn names_that_are_too_long_for_a_topic_are_answered_and_not_kept() {
    let sessions = sessions(2);
    let id = open(&sessions, 3);
    let long = |id, epoch| {
        let mut request = request(id, epoch, 1);
        request.topics[0].topic = TopicName(StrBytes::from_string("x".repeat(LONGEST_TOPIC_NAME + 1)));
        request
    };
    assert_eq!(fetch(&sessions, long(id, 1), 0), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(fetch(&sessions, long(0, INITIAL_EPOCH), 0), Ok((NO_SESSION, 1)));
    assert_eq!(counts(&sessions), (0, 0));
}

#[test]
fn a_session_that_outgrows_the_room_ends_with_a_whole_answer() {
    let sessions = sessions(2);
    let id = open(&sessions, 3);
    let most = i32::try_from(MAX).unwrap();
    assert_eq!(fetch(&sessions, request(id, 1, most), 0), Ok((id, MAX - 3)));
    assert_eq!(fetch(&sessions, request(id, 2, most + 1), 0), Ok((NO_SESSION, MAX + 1)));
    assert_eq!(counts(&sessions), (0, 0));
}

#[test]
fn a_session_closed_while_its_fetch_waits_is_answered_whole() {
    let sessions = sessions(1);
    let id = open(&sessions, 3);
    let mut waiting = request(id, 1, 0);
    let fetch_under_way = sessions.begin(NAMES, &mut waiting, NOW).unwrap();
    fetch(&sessions, request(id, FINAL_EPOCH, 0), 0).unwrap();
    let mut response = answer(&waiting, 0);
    fetch_under_way.finish(&mut response, NOW);
    assert_eq!((response.session_id, response.topics[0].partitions.len()), (NO_SESSION, 3));
}

#[test]
fn a_fetch_that_is_dropped_unanswered_takes_its_session_with_it() {
    let sessions = sessions(1);
    let id = open(&sessions, 3);
    drop(sessions.begin(NAMES, &mut request(id, 1, 0), NOW).unwrap());
    assert_eq!(counts(&sessions), (0, 0));
    drop(sessions.begin(NAMES, &mut request(0, INITIAL_EPOCH, 3), NOW).unwrap());
    assert_eq!(counts(&sessions), (0, 0));
}

#[test]
fn an_answer_without_partitions_tells_the_session_nothing() {
    let sessions = sessions(1);
    let unanswered = |mut request: FetchRequest| {
        let fetch = sessions.begin(NAMES, &mut request, NOW).unwrap();
        let mut response = FetchResponse::default();
        fetch.finish_unanswered(&mut response, NOW);
        response.session_id
    };
    assert_eq!(unanswered(request(0, INITIAL_EPOCH, 3)), NO_SESSION);
    let id = open(&sessions, 3);
    assert_eq!(unanswered(request(id, 1, 4)), id);
    assert_eq!(fetch(&sessions, request(id, 2, 0), 0), Ok((id, 1)), "the fourth was added and not told of");
}

#[test]
fn names_and_ids_do_not_mix_in_a_session() {
    let sessions = sessions(1);
    let id = open(&sessions, 3);
    assert_eq!(sessions.begin(IDS, &mut request(id, 1, 0), NOW).err(), Some(ErrorCode::FetchSessionTopicIdError));
    assert_eq!(fetch(&sessions, request(id, 1, 0), 0), Ok((id, 0)));
}
