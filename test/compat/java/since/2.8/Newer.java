import java.util.*;
import org.apache.kafka.clients.admin.*;

/** What differs between the versions of the client: here the oldest, which has nothing newer. */
class Newer extends Clients {
    static TopicDescription topic(Admin admin, String name) throws Exception { return admin.describeTopics(List.of(name)).all().get().get(name); }

    static Map<String, LogDirDescription> logDirs(Admin admin, int broker) throws Exception { return admin.describeLogDirs(List.of(broker)).descriptions().get(broker).get(); }

    static void run(String feature, Admin admin) { }
}
