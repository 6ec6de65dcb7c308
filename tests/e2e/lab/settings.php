<?php
// What the lab's wiki has beyond MediaWiki's own defaults. Ports come from the environment, so that a copy of the folder is a wiki of its own.
$wgServer = 'http://127.0.0.1:' . ( getenv( 'LAB_WIKI_PORT' ) ?: '1' );
$wgUploadDirectory = __DIR__ . '/images';
$wgUploadPath = '/images';
$wgCacheDirectory = __DIR__ . '/cache';
$wgTmpDirectory = __DIR__ . '/tmp';
$wgLocalisationCacheConf['store'] = 'array';
$wgMainCacheType = CACHE_ACCEL;
$wgSessionCacheType = CACHE_ACCEL;
$wgParserCacheType = CACHE_NONE;
$wgJobRunRate = 0; // the lab runs runJobs.php beside it
$wgEnableUploads = true;
$wgShowExceptionDetails = true;
$wgRCWatchCategoryMembership = true;
$wgMaxArticleSize = 2048;
$wgUseInstantCommons = false;
$wgEnableEmail = false;
$wgPingback = false;
$wgRightsUrl = 'https://creativecommons.org/licenses/by-sa/4.0/';
$wgRightsText = 'Creative Commons Attribution-ShareAlike 4.0';
$wgRCFeeds['lab'] = [
	'class' => 'UDPRCFeedEngine',
	'formatter' => 'JSONRCFeedFormatter',
	'uri' => 'udp://127.0.0.1:' . ( getenv( 'LAB_UDP_PORT' ) ?: '1' ),
	'add_interwiki_prefix' => false,
	'omit_bots' => false,
	'omit_minor' => false,
	'omit_anon' => false,
	'omit_user' => false,
	'omit_patrolled' => false,
];
wfLoadExtension( 'Scribunto' ); // pages in Lua, in namespace Module
foreach ( [
	'deleterevision', 'deletelogentry', 'suppressrevision', 'viewsuppressed', 'hideuser', 'suppressionlog', 'mergehistory', 'import',
	'importupload', 'editcontentmodel', 'suppressredirect', 'deletedhistory', 'deletedtext', 'undelete', 'apihighlimits', 'noratelimit',
	'bigdelete', 'override-antispoof', 'managechangetags', 'changetags', 'editusercss', 'edituserjs', 'editsitejs',
] as $right ) {
	$wgGroupPermissions['sysop'][$right] = true;
}
$wgGroupPermissions['sysop']['bot'] = false; // the bot flag only from the group of that name
$wgGroupPermissions['bot']['bot'] = true;
$wgRateLimits = [];

// A second slot beside the text, as files of Commons have it, and a way to save both: MediaWiki itself offers none.
$wgHooks['MediaWikiServices'][] = static function ( $services ) {
	$services->addServiceManipulator( 'SlotRoleRegistry', static function ( $roles ) {
		$roles->defineRoleWithModel( 'facts', CONTENT_MODEL_JSON );
	} );
};
$wgAPIModules['labslots'] = LabSlots::class;

class LabSlots extends ApiBase {
	public function execute() {
		$asked = $this->extractRequestParams();
		$title = Title::newFromText( $asked['title'] );
		$page = MediaWiki\MediaWikiServices::getInstance()->getWikiPageFactory()->newFromTitle( $title );
		$updater = $page->newPageUpdater( $this->getUser() );
		if ( $asked['text'] !== null ) {
			$updater->setContent( 'main', ContentHandler::makeContent( $asked['text'], $title ) );
		}
		$updater->setContent( 'facts', new JsonContent( $asked['facts'] ) );
		$saved = $updater->saveRevision( CommentStoreComment::newUnsavedComment( $asked['summary'] ) );
		if ( !$updater->getStatus()->isOK() ) {
			$this->dieStatus( $updater->getStatus() );
		}
		$this->getResult()->addValue( null, 'labslots', [ 'newrevid' => $saved ? $saved->getId() : 0 ] );
	}

	public function getAllowedParams() {
		return [ 'title' => '', 'text' => null, 'facts' => '{}', 'summary' => '' ];
	}

	public function needsToken() {
		return 'csrf';
	}

	public function isWriteMode() {
		return true;
	}

	public function mustBePosted() {
		return true;
	}
}
