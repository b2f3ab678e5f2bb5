import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/**
 * Telemetry BOOTSTRAP: asks clients for their metrics, then writes and reads until its standard input ends, having printed the client
 * instance ids of producer and consumer, and at last how many records the producer has sent.
 */
class Telemetry {
    public static void main(String[] args) throws Exception {
        String topic = "pushed";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            ConfigResource subscription = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "everything");
            admin.incrementalAlterConfigs(Map.of(subscription, List.of(op("metrics", "*"), op("interval.ms", "200"), op("match", "client_software_name=apache-kafka-java,client_id=pusher-.*")))).all().get();
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        }
        try (KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", args[0], "client.id", "pusher-producer"), new StringSerializer(), new StringSerializer());
             KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", args[0], "client.id", "pusher-consumer", "group.id", "pushed", "auto.offset.reset", "earliest"),
                 new StringDeserializer(), new StringDeserializer())) {
            c.subscribe(List.of(topic));
            System.out.println("producer " + p.clientInstanceId(Duration.ofSeconds(30)));
            Uuid consumer = null; // a consumer learns it while it polls
            int sent = 0;
            for (; System.in.available() == 0; sent++) {
                p.send(new ProducerRecord<>(topic, "k", "v" + sent)).get();
                c.poll(Duration.ofMillis(20));
                if (consumer == null && (consumer = c.clientInstanceId(Duration.ofMillis(100))) != null) System.out.println("consumer " + consumer);
            }
            System.out.println("sent " + sent);
        }
    }

    static AlterConfigOp op(String name, String value) { return new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET); }
}
