import java.util.*;
import org.apache.kafka.clients.admin.*;

/** What differs between the versions of the client: from 4.0 on. */
class Newer extends Clients {
    static TopicDescription topic(Admin admin, String name) throws Exception { return admin.describeTopics(List.of(name)).allTopicNames().get().get(name); }

    static Map<String, LogDirDescription> logDirs(Admin admin, int broker) throws Exception { return admin.describeLogDirs(List.of(broker)).descriptions().get(broker).get(); }

    static void run(String feature, Admin admin) throws Exception {
        Since33.run(feature, admin);
        Since40.run(feature, admin);
    }
}
