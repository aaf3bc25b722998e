//! Making the topics, and checking the ones that are there.

use super::{KafkaSettings, TopicError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// What `message.max.bytes` is where nothing else is said; an event is a few hundred bytes.
const MAX_MESSAGE: &str = "1048588";

/// Makes the topic of events and that of dead letters where they are missing.
///
/// # Errors
/// When no broker answers, a topic cannot be made, or the one that is there has another number of partitions.
pub async fn prepare(settings: &KafkaSettings) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> = settings.client()?.create()?;
    let replicas = i32::from(settings.replication.max(1));
    let in_sync = (replicas / 2 + 1).to_string();
    let retention = (u64::from(settings.retention_hours) * 3_600_000).to_string();
    let topic = |name, partitions| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(replicas))
            .set("min.insync.replicas", &in_sync)
            .set("retention.ms", &retention)
            .set("max.message.bytes", MAX_MESSAGE)
            // As the producer packed them.
            .set("compression.type", "producer")
            // A replica that has not all may not lead: it would lose what was reported as stored.
            .set("unclean.leader.election.enable", "false")
            // When the broker stored it; a client's clock decides nothing.
            .set("message.timestamp.type", "LogAppendTime")
    };
    let topics = [
        topic(&settings.topic, settings.partitions as i32),
        topic(&settings.dead_letters, 1),
    ];
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let made = admin
        .create_topics(&topics, &options)
        .await
        .map_err(|source| TopicError::Away {
            brokers: settings.brokers.clone(),
            source,
        })?;
    for made in made {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Create { topic, code }),
        }
    }
    check(&admin, settings).await
}

async fn check(
    admin: &AdminClient<DefaultClientContext>,
    settings: &KafkaSettings,
) -> Result<(), TopicError> {
    let mut tries = 0;
    loop {
        let client = admin.inner();
        let found =
            tokio::task::block_in_place(|| client.fetch_metadata(Some(&settings.topic), PATIENCE))
                .map_err(|source| TopicError::Away {
                    brokers: settings.brokers.clone(),
                    source,
                })?;
        let found = found
            .topics()
            .iter()
            .find(|topic| topic.name() == settings.topic)
            .map_or(0, |topic| topic.partitions().len());
        tries += 1;
        // A topic made a moment ago is not known everywhere at once.
        if found == 0 && tries < 50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        if found != settings.partitions as usize {
            return Err(TopicError::Partitions {
                topic: settings.topic.clone(),
                found,
                wanted: settings.partitions,
            });
        }
        return Ok(());
    }
}

/// One beyond the last event of each partition. Asks the brokers, and blocks for as long.
///
/// # Errors
/// When no broker answers.
pub fn ends(settings: &KafkaSettings) -> Result<Vec<u64>, TopicError> {
    let client: BaseConsumer = settings.client()?.create()?;
    (0..settings.partitions)
        .map(|partition| {
            let (_, end) = client
                .fetch_watermarks(&settings.topic, partition as i32, PATIENCE)
                .map_err(|source| TopicError::Away {
                    brokers: settings.brokers.clone(),
                    source,
                })?;
            Ok(end.max(0) as u64)
        })
        .collect()
}
