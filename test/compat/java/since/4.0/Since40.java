import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

/** What the client has had since 3.4 to 4.0: states and types of groups, features upgraded. */
class Since40 extends Clients {
    static void run(String feature, Admin admin) throws Exception {
        switch (feature) {
            case "groups": groups(admin); break;
            case "admin": features(admin); fenced(admin); break;
            default:
        }
    }

    static void groups(Admin admin) throws Exception {
        String group = name("group-eager");
        GroupListing listed = admin.listGroups().all().get().stream().filter(g -> g.groupId().equals(group)).findFirst().orElseThrow();
        same(List.of("consumer", Optional.of(GroupType.CLASSIC), Optional.of(GroupState.EMPTY)), List.of(listed.protocol(), listed.type(), listed.groupState()), "listed group");
        same(GroupState.EMPTY, admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState(), "state");
        same(ClassicGroupState.EMPTY, admin.describeClassicGroups(List.of(group)).all().get().get(group).state(), "state as a classic group");
        fails(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(name("no-group"))).all().get(), "a group that is not there");
    }

    static void features(Admin admin) throws Exception {
        short level = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("metadata.version").maxVersionLevel();
        Map<String, FeatureUpdate> same = Map.of("metadata.version", new FeatureUpdate(level, FeatureUpdate.UpgradeType.UPGRADE));
        admin.updateFeatures(same, new UpdateFeaturesOptions().validateOnly(true)).all().get();
        fails(InvalidUpdateVersionException.class, () -> admin.updateFeatures(Map.of("metadata.version", new FeatureUpdate((short) 9999, FeatureUpdate.UpgradeType.UPGRADE)),
            new UpdateFeaturesOptions()).all().get(), "a level that nobody has");
    }

    static void fenced(Admin admin) throws Exception {
        same((int) REPLICAS, admin.describeCluster(new DescribeClusterOptions().includeFencedBrokers(true)).nodes().get().size(), "brokers, the fenced ones too");
    }
}
